// Package browser holds the tests of the dashboard in a real browser: Chromium,
// without a window, on pages of a sender whose receivers are on loopback. They click
// where a person would, find things by role and name as screen readers do, and fail
// on any error in the console and on whatever the Content-Security-Policy refuses.
//
// Every kind of page is also checked with axe-core, which npm installs into a
// temporary folder, in light and dark. HOOKPOST_SCREENSHOTS=folder keeps a picture
// of each, 1280 and 360 pixels wide.
//
// Without Chromium the tests are skipped, and those with axe-core without npm; with
// CI=true that is a failure.
package browser
