// Package e2e holds tests that need whole processes: workers that are killed while
// they send.
package e2e
