// Package verifier checks webhooks on the receiving side.
//
// A [Verifier] holds the secrets of one endpoint and the one scheme it
// accepts. [Verifier.Middleware] verifies requests before a handler sees them,
// and a [Mux] behind it calls a handler for each type of event.
// [Verifier.ConstructEvent] verifies a body and headers at hand. The function
// [ConstructEvent] is the short form for providers that send everything in one
// header.
//
// A genuine signature does not make a request new: the same event may come
// more than once, because webhooks are delivered at least once and because a
// captured request stays valid for the tolerance. [Options].Dedupe lets each
// event through once; package verifier/dedupe has one in memory and one that
// marks events in the handler's own database transaction.
//
// Only what a handler has seen counts as handled. A [Mux] acknowledges types
// that it has no handler for ([ErrNoHandler]), and answers 500 to a genuine
// event whose type can't be read ([ErrUnreadable]).
//
// Package verifier/verifiertest makes signed requests for tests of handlers.
//
// # When verification fails
//
// Whoever sent a refused request hears "Invalid signature" and no reason.
// [Options].OnError hears the error, which is one of these:
//
//   - [signing.ErrMissingHeader]: not the sender, or another scheme.
//   - [signing.ErrMalformed]: a header is not in the scheme's form, comes twice
//     or is too long, or a form of GitHub's is broken; the text says which.
//   - [signing.ErrTooOld], [signing.ErrTooNew]: a replay, or a clock is wrong.
//   - [signing.ErrNoMatch]: the wrong secret, a body that was decoded and
//     encoded again on its way here, or a forgery.
//   - [signing.ErrUnknownVersion], also an ErrNoMatch: signed with another kind
//     of key than the verifier has.
//   - [ErrBodyTooLarge], the only one with an answer of its own: 413.
//   - any other: the body could not be read to its end.
//
// [New] refuses secrets that can't work, with [signing.ErrBadSecret]. The
// examples show each of them.
package verifier
