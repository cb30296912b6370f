package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// axe is the source of axe-core in the version of package-lock.json.
var axe = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hookpost-axe-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for _, file := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, text)
	}
	source, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	return string(source), err
})

// needAxe returns the source of axe-core, or skips the test.
func needAxe(t *testing.T) string {
	t.Helper()
	if _, ok := find("npm"); !ok && os.Getenv("CI") != "true" {
		t.Skip("no npm in PATH, which installs axe-core")
	}
	source, err := axe()
	require.NoError(t, err)
	return source
}

// violation is a rule of accessibility that the page breaks.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// prepareAxe loads axe-core into a world of its own beside that of the page, whose
// Content-Security-Policy stays as it is.
func (b *tab) prepareAxe(source string) runtime.ExecutionContextID {
	b.w.Helper()
	frame := call(b, page.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID
	world := call(b, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame, WorldName: "axe"}).ExecutionContextID
	_, err := chromedp.Run(b.ctx, chromedp.Evaluate[chromedp.Void](source, in(world)))
	require.NoError(b.w, err)
	return world
}

func in(world runtime.ExecutionContextID) chromedp.EvaluateOption {
	return func(p *runtime.EvaluateParams) { p.ContextID = world }
}

// violations returns the serious and critical ones.
func (b *tab) violations(world runtime.ExecutionContextID) (list []violation) {
	b.w.Helper()
	all, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]violation]("axe.run({resultTypes: ['violations']}).then((r) => r.violations)", in(world), chromedp.EvalAwaitPromise))
	require.NoError(b.w, err)
	for _, v := range all {
		if v.Impact == "serious" || v.Impact == "critical" {
			list = append(list, v)
		}
	}
	return list
}

func (v violation) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s (%s): %s", v.ID, v.Impact, v.Help)
	for _, n := range v.Nodes {
		fmt.Fprintf(&text, "\n  %s\n    %s", n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n    "))
	}
	return text.String()
}
