// Package txlibs tests that events can be sent, and marked as received, in
// transactions of the libraries that applications use PostgreSQL with. It is a module of its own so that nobody
// else requires them.
package txlibs
