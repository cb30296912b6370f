package main

import (
	"errors"
	"strings"

	"github.com/hookpost/hookpost/signing"
)

const schemeUsage = "the signature `SCHEME` (standard): standard, stripe, github, timestamped:HEADER, or " +
	"body-hmac:HEADER:ENCODING[:PREFIX] with the encoding hex or base64"

var errScheme = errors.New("want standard (Standard Webhooks, Svix), stripe, github, timestamped:HEADER, or body-hmac:HEADER:ENCODING[:PREFIX] with the encoding hex or base64")

// parseScheme reads a scheme by its name.
func parseScheme(s string) (signing.Scheme, error) {
	kind, rest, _ := strings.Cut(s, ":")
	var scheme signing.Scheme
	switch {
	case s == "standard":
		return signing.Standard, nil
	case s == "github":
		return signing.GitHub, nil
	case s == "stripe":
		return signing.Timestamped("Stripe-Signature"), nil
	case kind == "timestamped":
		scheme = signing.Timestamped(rest)
	case kind == "body-hmac":
		header, rest, _ := strings.Cut(rest, ":")
		encoding, prefix, _ := strings.Cut(rest, ":")
		switch encoding {
		case signing.Hex.String():
			scheme = signing.BodyHMAC(header, prefix, signing.Hex)
		case signing.Base64.String():
			scheme = signing.BodyHMAC(header, prefix, signing.Base64)
		default:
			return nil, errScheme
		}
	default:
		return nil, errScheme
	}
	// Its parameters are looked at when it is bound.
	if _, err := scheme.Bind(signing.NewSecret()); err != nil {
		return nil, errors.New(plain(err))
	}
	return scheme, nil
}

// A foreignScheme is one of the application's that this program knows by name only.
// It keeps what an endpoint has; nothing can be signed with it.
type foreignScheme string

func (f foreignScheme) Name() string { return string(f) }

func (f foreignScheme) Bind(...signing.Secret) (signing.Key, error) {
	return nil, signing.ErrBadScheme
}

// schemesNamed returns the schemes that an endpoint names.
func schemesNamed(names []string) []signing.Scheme {
	var schemes []signing.Scheme
	for _, name := range names {
		s, err := parseScheme(name)
		if err != nil || s.Name() != name {
			s = foreignScheme(name)
		}
		schemes = append(schemes, s)
	}
	return schemes
}
