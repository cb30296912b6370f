package api

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// withSecret is the one answer that tells what an endpoint's receiver verifies with:
// the signing secret, or the public key of one that only the sender may know.
type withSecret struct {
	Endpoint  endpointView `json:"endpoint"`
	Secret    string       `json:"secret,omitempty"`
	PublicKey string       `json:"public_key,omitempty"`
}

func viewWithSecret(ep store.Endpoint, secret signing.Secret) (v withSecret, err error) {
	v.Endpoint = viewEndpoint(ep)
	if secret.Kind() == signing.KindPrivate {
		v.PublicKey, err = secret.PublicKey()
		return v, err
	}
	v.Secret = secret.Reveal()
	return v, nil
}

// rotateSecret gives an endpoint a new secret. An overlap of 0 s is none.
func (c *call) rotateSecret() error {
	var overlap *int
	if err := c.body(content{"overlap_seconds": &overlap}); err != nil {
		return err
	}
	var lasts time.Duration
	switch {
	case overlap == nil:
	case *overlap == 0:
		lasts = -1
	case *overlap < 0 || *overlap > maxOverlap:
		return problemOf(invalid, "", fieldFault("overlap_seconds", "is not from 0 (at once) to 2592000 (30 days)"))
	default:
		lasts = time.Duration(*overlap) * time.Second
	}
	ep, secret, err := c.RotateSecret(c.r.Context(), c.id(), lasts)
	if err != nil {
		return err
	}
	v, err := viewWithSecret(ep, secret)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, v)
}

const maxOverlap = 30 * 24 * 60 * 60 // seconds, as sender.Rotation allows

func (c *call) revokeSecret() error {
	ctx, secret := c.r.Context(), c.r.PathValue("secret")
	ep, err := c.Endpoint(ctx, c.id())
	if err != nil {
		return err
	}
	if ep.State != store.Deleted && !slices.ContainsFunc(ep.Secrets, func(s store.SealedSecret) bool { return s.ID == secret }) {
		return problemOf(notFound, "the endpoint has no such secret; its secrets have their ids")
	}
	err = c.RevokeSecret(ctx, c.id(), secret)
	if errors.Is(err, sender.ErrInvalidEndpoint) {
		return problemOf(currentSecret, "the current secret can't be revoked; rotate it with an overlap of 0 seconds to replace it at once")
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
