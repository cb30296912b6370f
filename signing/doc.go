// Package signing makes and checks webhook signatures.
//
// A [Scheme] is a wire protocol: which headers carry the signature, what it
// covers and how the text of a secret becomes a key.
//
//   - [Standard] is Standard Webhooks 1.0.0, with shared secrets and with ed25519
//     keys, and the default everywhere in hookpost.
//   - [Timestamped] is one header "t=…,v1=…", as Stripe sends it.
//   - [BodyHMAC] is one header with the HMAC-SHA256 of the body alone; [GitHub]
//     is that with GitHub's headers.
//
// Other packages may implement Scheme. A sender may use several on one request,
// each with headers of its own; a receiver uses one.
//
// Binding a scheme to one or more secrets gives a [Key], which signs and
// verifies. With several secrets, as during a rotation, a Key signs with each
// of them, newest first, as far as the header has room for more than one
// signature, and accepts a signature made with any of them.
//
// A [Secret] is made by [NewSecret], [NewPrivateKey], [ParseSecret] or
// [MustParseSecret], and never
// prints itself. Only [Secret.Reveal] shows its text.
//
// Why Verify refuses is one of the errors of this package, for [errors.Is] and
// for logs. Tell the sender only that it was refused.
package signing
