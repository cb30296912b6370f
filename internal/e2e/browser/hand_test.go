package browser

import (
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// click clicks with the mouse on the only element of this role and name, if it is
// where a person could click on it.
func (p part) click(role, name string) {
	p.w.Helper()
	var why string
	defer func() {
		if p.w.Failed() {
			p.w.Log("clicking on", role, name, why)
		}
	}()
	p.w.until(fmt.Sprintf("%s %q can be clicked on", role, name), func() bool {
		node := p.find(role, name)
		x, y, err := p.place(node)
		if err != nil {
			why = err.Error()
			return false
		}
		p.do(chromedp.MouseClickXY(x, y))
		return true
	})
}

// follow clicks and waits for the page that this leads to.
func (p part) follow(role, name string) {
	p.w.Helper()
	p.loaded(func() { p.click(role, name) })
}

// place scrolls to an element and returns a point of it, if nothing is in front.
func (b *tab) place(node cdp.BackendNodeID) (x, y float64, err error) {
	if _, err := try(b, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: node}); err != nil {
		return 0, 0, err
	}
	quads, err := try(b, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: node})
	if err != nil {
		return 0, 0, err
	}
	if len(quads.Quads) == 0 {
		return 0, 0, fmt.Errorf("it is not shown")
	}
	q := quads.Quads[0]
	x, y = (q[0]+q[2])/2, (q[1]+q[5])/2
	inFront, err := ask[bool](b, node, fmt.Sprintf("function() { const e = document.elementFromPoint(%g, %g); return !(this === e || this.contains(e)) }", x, y))
	if err == nil && inFront {
		err = fmt.Errorf("something is in front of it at %g, %g", x, y)
	}
	return x, y, err
}

// ask calls a JavaScript function on an element.
func ask[T any](b *tab, node cdp.BackendNodeID, function string) (T, error) {
	var zero T
	object, err := try(b, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: node})
	if err != nil {
		return zero, err
	}
	return chromedp.Run(b.ctx, chromedp.CallFunctionOn[T](function, func(p *runtime.CallFunctionOnParams) { p.ObjectID = object.Object.ObjectID }))
}

// fill replaces the text of a field.
func (p part) fill(role, name, text string) {
	p.w.Helper()
	p.click(role, name)
	p.press(kb.Home)
	p.do(chromedp.KeyEvent(kb.End, chromedp.KeyModifiers(chromedp.ModifierShift)))
	p.press(kb.Backspace)
	p.write(text)
}

// write types into the field that has the focus.
func (b *tab) write(text string) {
	b.w.Helper()
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// press presses keys, one after the other.
func (b *tab) press(keys ...string) {
	b.w.Helper()
	for _, key := range keys {
		b.do(chromedp.KeyEvent(key))
	}
}

// choose takes the option of a list that begins with the text, by the keyboard.
func (p part) choose(name, option string) {
	p.w.Helper()
	node := p.find("combobox", name)
	call(p.tab, dom.Focus, dom.FocusParams{BackendNodeID: node})
	p.press(kb.Home)
	p.w.until(fmt.Sprintf("%q of %q is chosen", option, name), func() bool {
		chosen, err := ask[string](p.tab, node, "function() { return this.selectedOptions[0].label }")
		require.NoError(p.w, err)
		if strings.HasPrefix(chosen, option) {
			return true
		}
		p.press(kb.ArrowDown)
		return false
	})
}

// checked reports whether the box is ticked.
func (p part) checked(name string) bool {
	p.w.Helper()
	is, err := ask[bool](p.tab, p.find("checkbox", name), "function() { return this.checked }")
	require.NoError(p.w, err)
	return is
}

// content is what stands in a field.
func (p part) content(name string) string {
	p.w.Helper()
	text, err := ask[string](p.tab, p.find("textbox", name), "function() { return this.value }")
	require.NoError(p.w, err)
	return text
}

// when types a date, such as "12312026", and a time, such as "1159PM", into a field.
func (p part) when(name, date, clock string) {
	p.w.Helper()
	call(p.tab, dom.Focus, dom.FocusParams{BackendNodeID: p.find("DateTime", name)})
	p.press(date, kb.Tab, clock)
}
