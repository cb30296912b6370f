// Package signing makes and checks webhook signatures.
//
// A [Scheme] is a wire protocol: which headers carry the signature, what it
// covers and how the text of a secret becomes a key. [Standard] is Standard
// Webhooks 1.0.0 and the default everywhere in hookpost; [Timestamped] is the
// one-header form "t=…,v1=…". Other packages may implement Scheme.
//
// Binding a scheme to one or more secrets gives a [Key], which signs and
// verifies. With several secrets, as during a rotation, a Key signs with each
// of them, newest first, and accepts a signature made with any of them.
//
// A [Secret] never prints itself. Only [Secret.Reveal] shows its text.
package signing
