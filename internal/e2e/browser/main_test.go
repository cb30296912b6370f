package browser

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// chromium is the context of the browser that all tests share, each with a profile
// of its own.
var chromium context.Context

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if flag.Parse(); testing.Short() {
		fmt.Println("SKIP: the browser tests, because of -short")
		return 0
	}
	program, ok := find("chromium", "chromium-browser", "google-chrome", "headless-shell")
	if !ok {
		return missing("the browser tests: no chromium in PATH")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.Flag("lang", "en-US"),
		chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has none for root
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	var end context.CancelFunc
	chromium, end = chromedp.NewContext(allocator)
	defer end()
	if err := chromedp.Do(chromium); err != nil {
		fmt.Println("FAIL: starting", program+":", err)
		return 1
	}
	code := m.Run()
	if err := chromedp.Cancel(chromium); err != nil { // waits until the process has ended
		fmt.Println("FAIL: ending", program+":", err)
		return 1
	}
	return code
}

// find returns the first of these programs that is installed.
func find(names ...string) (string, bool) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

// missing says that something is not installed, which is an error in CI.
func missing(what string) int {
	if os.Getenv("CI") == "true" {
		fmt.Println("FAIL:", what)
		return 1
	}
	fmt.Println("SKIP:", what)
	return 0
}
