// Package interop tests signing and verifier against the libraries that senders and
// receivers use otherwise: what each side signs must verify on the other, and where
// the two judge a request differently, a test says so. It is a module of its own so
// that nobody else requires them.
package interop
