package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// tab is a page in the browser. What is embedded is all of the page.
type tab struct {
	part
	w     *world
	ctx   context.Context
	loads atomic.Int64

	mu     sync.Mutex
	wrong  []string // what went wrong in the page
	normal []string // what looks like an error to Chromium and is none
}

// part is a part of the page, by its CSS selector.
type part struct {
	*tab
	within string
}

// visit opens a tab on a page of the live account. The test fails if anything goes
// wrong in the tab until it ends.
func (w *world) visit(path string) *tab {
	w.Helper()
	b := w.blank()
	b.open("live~acme/" + path)
	return b
}

// blank opens a tab with an empty page, in a profile of its own.
func (w *world) blank() *tab {
	w.Helper()
	ctx, end := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	w.Cleanup(end)
	b := &tab{w: w, ctx: ctx, normal: []string{
		"status of 422",                  // a form comes back with its mistakes
		"NavigationEntryMarkedSkippable", // a page was left without a click, by a key
	}}
	b.part = part{b, "html"}
	require.NoError(w, chromedp.Listen(ctx, b.hear))
	call(b, page.Enable, page.EnableParams{})
	call(b, dom.Enable, dom.EnableParams{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, log.Enable, cdp.Empty{})
	call(b, audits.Enable, cdp.Empty{})
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	b.screen(1280, "light")
	w.Cleanup(func() { require.Empty(w, b.faults(), "errors in the page") })
	return b
}

// hear takes the events of the tab.
func (b *tab) hear(event any) {
	switch e := event.(type) {
	case *page.EventLoadEventFired:
		b.loads.Add(1)
	case *page.EventJavascriptDialogOpening:
		b.fault("dialog: %s", e.Message)
		go func() { _, _ = try(b, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{}) }() // it would stop the page
	case *runtime.EventExceptionThrown:
		b.fault("exception: %s", (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *runtime.EventConsoleAPICalled:
		b.fault("console: %s", e.Type)
	case *log.EventEntryAdded:
		b.fault("log: %s %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *audits.EventIssueAdded:
		details, _ := json.Marshal(e.Issue.Details) // else the code alone
		b.fault("issue: %s %s", e.Issue.Code, details)
	}
}

func (b *tab) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.normal, func(part string) bool { return strings.Contains(text, part) }) {
		b.wrong = append(b.wrong, text)
	}
}

// expect says that a part of an error's text is no error in this tab.
func (b *tab) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.normal = append(b.normal, text)
}

func (b *tab) faults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wrong
}

// forgive makes all faults in the tab normal.
func (b *tab) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong, b.normal = nil, append(b.normal, "")
}

// call runs a command of the DevTools protocol, which must work.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.w.Helper()
	r, err := try(b, command, params)
	require.NoError(b.w, err, "%s", command.Method)
	return r
}

// try runs a command of the DevTools protocol.
func try[P, R any](b *tab, command cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Call(ctx, command, params)
}

// do runs a step of chromedp, which must work.
func (b *tab) do(step chromedp.Action[chromedp.Void]) {
	b.w.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.w, chromedp.Do(ctx, step))
}

// screen sets the width in pixels and the color scheme, "light" or "dark".
func (b *tab) screen(width int64, scheme string) {
	b.w.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width < 500})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// open goes to a page of the dashboard.
func (b *tab) open(path string) {
	b.w.Helper()
	b.loaded(func() { call(b, page.Navigate, page.NavigateParams{URL: b.w.site + path}) })
}

// loaded waits until the page that f leads to has been loaded.
func (b *tab) loaded(f func()) {
	b.w.Helper()
	before := b.loads.Load()
	f()
	b.w.until("a page is loaded", func() bool { return b.loads.Load() > before })
}

// in is a part of the page.
func (b *tab) in(selector string) part { return part{b, selector} }

// value returns what a JavaScript expression gives, in the world of the page.
func value[T any](b *tab, expression string) T {
	b.w.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.w, err, "%s", expression)
	return v
}

// address is the path of the page below the account, with the query.
func (b *tab) address() string {
	b.w.Helper()
	_, path, _ := strings.Cut(value[string](b, "location.pathname + location.search"), "~acme/")
	return path
}

// text is what can be read in the part, empty if there is none.
func (p part) text() string {
	p.w.Helper()
	return value[string](p.tab, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.innerText).join('\\n')", p.within))
}

// sees waits until all of the texts can be read in the part.
func (p part) sees(texts ...string) {
	p.w.Helper()
	for _, text := range texts {
		p.w.until(fmt.Sprintf("%q stands in %s of %s:\n%s", text, p.within, p.address(), p.text()), func() bool {
			return strings.Contains(p.text(), text)
		})
	}
}

// lacks fails if the text can be read in the part.
func (p part) lacks(text string) {
	p.w.Helper()
	require.NotContains(p.w, p.text(), text)
}

// all are the elements of the part with this role and name, as screen readers know
// them. Without a name it is all with the role.
func (p part) all(role, name string) []cdp.BackendNodeID {
	found, err := try(p.tab, runtime.Evaluate, runtime.EvaluateParams{Expression: fmt.Sprintf("document.querySelector(%q)", p.within)})
	if err != nil || found.Result.ObjectID == "" {
		return nil // the page is just changing
	}
	tree, err := try(p.tab, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{ObjectID: found.Result.ObjectID, Role: role, AccessibleName: name})
	if err != nil {
		return nil
	}
	var list []cdp.BackendNodeID
	for _, n := range tree.Nodes {
		if !n.Ignored {
			list = append(list, n.BackendDOMNodeID)
		}
	}
	return list
}

// find waits until the part has exactly one element with this role and name.
func (p part) find(role, name string) (found cdp.BackendNodeID) {
	p.w.Helper()
	p.w.until(fmt.Sprintf("there is one %s %q in %s of %s:\n%s", role, name, p.within, p.address(), p.text()), func() bool {
		list := p.all(role, name)
		if len(list) == 1 {
			found = list[0]
		}
		return len(list) == 1
	})
	return found
}

// has fails if the part has no element with this role and name, or several.
func (p part) has(role, name string) {
	p.w.Helper()
	p.find(role, name)
}
