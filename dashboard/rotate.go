package dashboard

import (
	"net/http"
	"net/url"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// overlap is a choice of how long the secrets so far stay valid.
type overlap struct {
	Value, Name string
	duration    time.Duration
}

// overlaps are the choices, the usual one first.
var overlaps = []overlap{
	{"24h", "for 24 hours", 24 * time.Hour},
	{"1h", "for 1 hour", time.Hour},
	{"7d", "for 7 days", 7 * 24 * time.Hour},
	{"none", "no longer: it may have leaked", -1},
}

// rotation is the question before a rotation.
type rotation struct {
	store.Endpoint
	Overlaps []overlap
}

func (v *visit) confirmRotate() error {
	ep, err := v.Endpoint(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if ep.State == store.Deleted {
		return store.ErrDeleted
	}
	v.render(http.StatusOK, "rotate.html", page{Title: "Rotate secret", Nav: "endpoints"}, rotation{ep, overlaps})
	return nil
}

// rotateSecret answers with the secret itself, as createEndpoint does.
func (v *visit) rotateSecret() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	var lasts time.Duration
	for _, o := range overlaps {
		if o.Value == form.Get("overlap") {
			lasts = o.duration
		}
	}
	id := v.r.PathValue("id")
	if _, err := v.Endpoint(v.r.Context(), id); err != nil {
		return err
	}
	if lasts == 0 {
		return &problem{http.StatusBadRequest, "Not acceptable", "Choose how long the present secret stays valid."}
	}
	ep, secret, err := v.RotateSecret(v.r.Context(), id, lasts)
	if err != nil {
		return err
	}
	d := secretDialog{Endpoint: ep, Secret: secret.Reveal(), Rotated: true}
	if secret.Kind() == signing.KindPrivate {
		// The private half never leaves the sender.
		if d.Secret, err = secret.PublicKey(); err != nil {
			return err
		}
		d.Public = true
	}
	return v.panel(http.StatusOK, "secret.html", "Webhook signing secret", d)
}

func (v *visit) revokeSecret() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	id := v.r.PathValue("id")
	if err := v.RevokeSecret(v.r.Context(), id, form.Get("secret")); err != nil {
		return err
	}
	return v.redirect("endpoints/%s?done=revoked", url.PathEscape(id))
}
