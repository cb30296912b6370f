package browser

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// focus is the text of the element that has the focus, or its name in a form.
func (b *tab) focus() string {
	b.w.Helper()
	return value[string](b, `(() => {
		const e = document.activeElement;
		return e.name || e.getAttribute("aria-label") || e.innerText.trim().split("\n")[0];
	})()`)
}

// tabTo presses the tabulator key until the element has the focus.
func (b *tab) tabTo(name string) {
	b.w.Helper()
	var passed []string
	for range 60 {
		b.press(kb.Tab)
		if b.focus() == name {
			require.True(b.w, value[bool](b, "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle !== 'none'"), "the focus is seen")
			return
		}
		passed = append(passed, b.focus())
	}
	require.Contains(b.w, passed, name)
}

// An endpoint is made without a mouse.
func TestKeyboardOnly(t *testing.T) {
	w := newWorld(t)
	b := w.visit("endpoints")
	b.press(kb.Tab)
	require.Equal(t, "Skip to the content", b.focus())
	b.tabTo("Create webhook endpoint")
	b.loaded(func() { b.press(kb.Enter) })
	require.Equal(t, "url", b.focus())
	b.write(w.receiver.URL() + "/hooks")
	b.tabTo("Payments")
	b.tabTo("type")
	b.press(" ")
	b.tabTo("Advanced")
	b.press(kb.Enter)
	b.tabTo("Payments")
	b.press(" ")
	b.tabTo("group")
	b.press(" ")
	b.tabTo("Add endpoint")
	b.loaded(func() { b.press(kb.Enter) })
	b.sees("Webhook signing secret")
	require.ElementsMatch(t, []string{"payment.succeeded", "payment.disputed", "payment.expired"}, w.only().EventTypes)

	// Nothing below the dialog gets the focus.
	for range 8 {
		b.press(kb.Tab)
		require.True(t, value[bool](b, "document.activeElement === document.body || !!document.activeElement.closest('[role=dialog]')"), b.focus())
	}
	b.tabTo("Done")
	b.loaded(func() { b.press(kb.Enter) })
	b.tabTo("Actions for " + w.only().URL)
	b.press(kb.Enter)
	b.tabTo("Disable webhook")
	b.press(kb.Escape)
	require.Equal(t, "Actions for "+w.only().URL, b.focus())

	b.open("live~acme/endpoints/new")
	b.loaded(func() { b.press(kb.Escape) })
	require.Equal(t, "endpoints", b.address(), "Escape closes the panel")
}
