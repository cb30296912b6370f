// Package verifier checks webhooks on the receiving side.
//
// A [Verifier] holds the secrets of one endpoint and the one scheme it
// accepts. [Verifier.Middleware] verifies requests before a handler sees them;
// [Verifier.ConstructEvent] does it for a body and headers at hand. The
// function [ConstructEvent] is the short form for providers that send
// everything in one header.
//
// A genuine signature does not make a request new: the same event may come
// more than once, because webhooks are delivered at least once and because a
// captured request stays valid for the tolerance. Handlers tell repetitions by
// [Event].ID.
package verifier
