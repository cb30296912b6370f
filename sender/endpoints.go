package sender

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

const (
	maxDescription   = 1000 // bytes
	maxMetadata      = 50   // entries
	maxMetadataKey   = 100  // bytes
	maxMetadataValue = 1000 // bytes
	minTimeout       = time.Second
	maxEditTries     = 20
)

// EndpointSpec describes an endpoint to be created. URL and EventTypes are
// required.
type EndpointSpec struct {
	// URL is absolute, http or https, without userinfo and fragment. Its shape is
	// checked, and that HTTP.Egress does not forbid it whatever a lookup would say;
	// not whether it answers. A port is judged with a host name only if Egress.Allow
	// is empty, because the name may lead into an allowed network. In test mode
	// loopback is accepted on every port, though attempts there fail as blocked unless
	// Egress.Allow permits them. Path and query are sent byte for byte as they are
	// given; only bytes that may not stand there are escaped. One endpoint per URL,
	// tenant and mode, where only scheme, host and port have several spellings.
	URL string
	// EventTypes is the selection: exact types, "payment.*" for everything below
	// payment, or "*" for all, future ones included.
	EventTypes []string

	Description string            // at most 1,000 bytes
	Metadata    map[string]string // the application's own; at most 50 entries
	Schedule    string            // a name from Options.Schedules; default Options.Schedule
	Schemes     []string          // names of Options.Schemes; default all of them
	Headers     Headers           // of its requests, such as Authorization; the values are sealed
	// Timeout replaces HTTPOptions.Timeout for this endpoint: 1 s to 30 s, and at
	// least a second less than Options.Lease.
	Timeout time.Duration

	// Secret is the signing secret, if there is one already: that of an endpoint
	// which moves here from another system. Older ones that its receiver may still
	// rely on go into MoreSecrets, newest first; all of them sign until they are
	// revoked or rotated. Private ed25519 keys (signing.NewPrivateKey) may stand here
	// alone or beside shared secrets, with which signing.Standard then signs each
	// request as well; what the receiver needs of one is its PublicKey. Default: a new
	// shared secret is made.
	Secret      signing.Secret
	MoreSecrets []signing.Secret
	// Disabled creates the endpoint disabled, with the reason if given. A Reason
	// without Disabled is refused.
	Disabled bool
	Reason   string

	// NoTestEvent leaves out the webhook.test event that creation otherwise sends
	// to an enabled endpoint.
	NoTestEvent bool
}

// EndpointEdit changes an endpoint; nil fields stay as they are. The secret stays
// whatever changes. A URL that the endpoint has already is not judged again.
type EndpointEdit struct {
	URL         *string
	EventTypes  []string
	Description *string
	Metadata    map[string]string // replaces all of it
	Schedule    *string
	Schemes     []string
	// Headers are set besides those that the endpoint has, whose values nobody can
	// read to give them again. One with an empty value is removed.
	Headers Headers
	Timeout *time.Duration // 0: HTTPOptions.Timeout
}

// CreateEndpoint registers an endpoint and returns it with its signing secret: the
// only time that anyone sees it. A test event is queued for it; what becomes of
// that does not undo the creation.
//
// Errors: ErrInvalidURL, ErrInvalidSelection, ErrInvalidEndpoint,
// store.ErrDuplicateURL. With an ErrOutcomeUnknown come the endpoint's ID and the
// secret that it has if it exists.
func (t *Tenant) CreateEndpoint(ctx context.Context, spec EndpointSpec) (store.Endpoint, signing.Secret, error) {
	none := func(err error) (store.Endpoint, signing.Secret, error) {
		return store.Endpoint{}, signing.Secret{}, err
	}
	if t.err != nil {
		return none(t.err)
	}
	s := t.sender
	if err := s.cfg.catalogue.check(spec.EventTypes, nil); err != nil {
		return none(err)
	}
	ep := store.Endpoint{
		Scope: t.scope,
		Config: store.Config{
			EventTypes: slices.Clone(spec.EventTypes), State: store.Enabled,
			Schedule: spec.Schedule, Schemes: slices.Clone(spec.Schemes), Timeout: spec.Timeout,
			Description: spec.Description, Metadata: maps.Clone(spec.Metadata),
		},
	}
	switch {
	case spec.Disabled:
		ep.State, ep.Reason = store.Disabled, spec.Reason
	case spec.Reason != "":
		return none(&EndpointError{"Reason", "says why the endpoint is disabled, which it is only if Disabled is set"})
	}
	by, err := actor(ctx)
	if err != nil {
		return none(err)
	}
	if ep.ID, err = newID("ep_"); err != nil {
		return none(err)
	}
	if err := s.cfg.setHeaders(&ep, spec.Headers); err != nil {
		return none(err)
	}
	if err := s.setURL(&ep, spec.URL); err != nil {
		return none(err)
	}
	if err := s.checkEndpoint(&ep); err != nil {
		return none(err)
	}
	action, secret := store.Created, spec.Secret
	switch {
	case !secret.IsZero():
		action = store.Imported
	case len(spec.MoreSecrets) > 0:
		return none(&EndpointError{"MoreSecrets", "needs Secret, the newest of them"})
	default:
		secret = signing.NewSecret()
	}
	secrets := append([]signing.Secret{secret}, spec.MoreSecrets...)
	if len(secrets) > signing.MaxSecrets {
		return none(&EndpointError{"MoreSecrets", fmt.Sprintf("has %d; with Secret there can be %d", len(spec.MoreSecrets), signing.MaxSecrets)})
	}
	for i, sec := range secrets {
		if slices.ContainsFunc(secrets[:i], sec.Equal) {
			return none(&EndpointError{"MoreSecrets", "names a secret twice, or Secret itself"})
		}
	}
	if _, err := s.cfg.bind(ep.Schemes, secrets); err != nil {
		return none(&EndpointError{"Secret", err.Error()})
	}
	for _, sec := range secrets {
		sealed, err := sealSecret(s.cfg.Keyring, &ep, sec)
		if err != nil {
			return none(err)
		}
		ep.Secrets = append(ep.Secrets, sealed)
	}
	var created store.Endpoint
	change := store.ChangeParams{Action: action, Actor: by, Op: newOp()}
	err = insist(ctx, func(bool) (err error) {
		created, err = s.st.CreateEndpoint(ctx, ep, change)
		return err
	})
	switch {
	case errors.Is(err, ErrOutcomeUnknown):
		return store.Endpoint{Scope: ep.Scope, ID: ep.ID}, secret, err
	case err != nil:
		return none(err)
	}
	s.cache.changed(&created)
	if created.State == store.Enabled && !spec.NoTestEvent {
		if _, err := t.sendTest(ctx, &created); err != nil {
			s.log.Warn("hookpost: the test event of a new endpoint was not stored", "endpoint", created.ID, "error", err)
		}
	}
	return public(created), secret, nil
}

// EditEndpoint changes what the edit names. Pending deliveries go to the new URL,
// whether or not the new selection would have them. Errors are those of
// CreateEndpoint, store.ErrNotFound and store.ErrDeleted, and those of the keyring if
// the schemes change, since the secrets must serve the new ones.
func (t *Tenant) EditEndpoint(ctx context.Context, id string, edit EndpointEdit) (store.Endpoint, error) {
	action := store.Edited
	for _, value := range edit.Headers {
		if value.Reveal() != "" {
			action = store.HeadersSet
		}
	}
	return t.change(ctx, id, action, func(ep *store.Endpoint) (bool, error) {
		if edit.URL != nil {
			if err := t.sender.setURL(ep, *edit.URL); err != nil {
				return false, err
			}
		}
		if edit.EventTypes != nil {
			if err := t.sender.cfg.catalogue.check(edit.EventTypes, ep.EventTypes); err != nil {
				return false, err
			}
			ep.EventTypes = slices.Clone(edit.EventTypes)
		}
		if edit.Description != nil {
			ep.Description = *edit.Description
		}
		if edit.Metadata != nil {
			ep.Metadata = maps.Clone(edit.Metadata)
		}
		if edit.Schedule != nil {
			ep.Schedule = *edit.Schedule
		}
		newSchemes := edit.Schemes != nil && !slices.Equal(edit.Schemes, ep.Schemes)
		if newSchemes {
			ep.Schemes = slices.Clone(edit.Schemes)
		}
		if edit.Timeout != nil {
			ep.Timeout = *edit.Timeout
		}
		if err := t.sender.cfg.setHeaders(ep, edit.Headers); err != nil {
			return false, err
		}
		if err := t.sender.checkEndpoint(ep); err != nil || !newSchemes {
			return true, err
		}
		return true, t.sender.checkSchemes(ctx, ep)
	})
}

// DisableEndpoint stops deliveries and retries, here at once and in other
// processes within a second; an attempt under way finishes. Pending deliveries
// wait while their 72 hours run on. The reason is shown in the log; it may be
// empty. Disabling a disabled endpoint changes nothing.
func (t *Tenant) DisableEndpoint(ctx context.Context, id, reason string) (store.Endpoint, error) {
	return t.change(ctx, id, store.WasDisabled, func(ep *store.Endpoint) (bool, error) {
		if ep.State == store.Disabled {
			return false, nil
		}
		ep.State, ep.Reason = store.Disabled, reason
		return true, checkText("Reason", reason, maxDescription)
	})
}

// EnableEndpoint resumes deliveries: those that waited go out, within the
// endpoint's bound, unless their 72 hours have ended meanwhile; then they are
// exhausted. Events that fired while it was disabled are not back-filled.
func (t *Tenant) EnableEndpoint(ctx context.Context, id string) (store.Endpoint, error) {
	ep, err := t.change(ctx, id, store.WasEnabled, func(ep *store.Endpoint) (bool, error) {
		if ep.State == store.Enabled {
			return false, nil
		}
		ep.State, ep.Reason = store.Enabled, ""
		return true, nil
	})
	if err == nil {
		t.sender.lanes.block(ep.Num, 0, time.Now())
		t.sender.upkeep.soon(&t.sender.upkeep.expire)
		t.sender.Wake()
	}
	return ep, err
}

// DeleteEndpoint ends an endpoint for good: its pending deliveries are cancelled,
// its secrets and header values destroyed, its URL is free again. Its log stays readable.
func (t *Tenant) DeleteEndpoint(ctx context.Context, id string) error {
	_, err := t.change(ctx, id, store.WasDeleted, func(ep *store.Endpoint) (bool, error) {
		ep.State, ep.Sealed = store.Deleted, store.Sealed{}
		return true, nil
	})
	if err == nil {
		t.sender.upkeep.soon(&t.sender.upkeep.cancel)
	}
	return err
}

// change reads an endpoint, applies f and writes it back, again if somebody else
// changed it meanwhile. f reports whether there is anything to write.
func (t *Tenant) change(ctx context.Context, id string, action store.Action, f func(*store.Endpoint) (bool, error)) (store.Endpoint, error) {
	if t.err != nil {
		return store.Endpoint{}, t.err
	}
	s := t.sender
	by, err := actor(ctx)
	if err != nil {
		return store.Endpoint{}, err
	}
	p := store.ChangeParams{Action: action, Actor: by, Op: newOp()}
	for range maxEditTries {
		ep, err := s.st.Endpoint(ctx, t.scope, id)
		if err != nil {
			return store.Endpoint{}, err
		}
		if ep.State == store.Deleted {
			return store.Endpoint{}, fmt.Errorf("%w: %s", store.ErrDeleted, id)
		}
		changes, err := f(&ep)
		if err != nil {
			return store.Endpoint{}, err
		}
		if !changes {
			return public(ep), nil
		}
		var updated store.Endpoint
		err = insist(ctx, func(bool) (err error) {
			updated, err = s.st.UpdateEndpoint(ctx, ep, p)
			return err
		})
		if errors.Is(err, store.ErrChanged) {
			continue
		}
		if err != nil {
			return store.Endpoint{}, err
		}
		s.cache.changed(&updated)
		return public(updated), nil
	}
	return store.Endpoint{}, fmt.Errorf("%w: %s, %d times in a row", store.ErrChanged, id, maxEditTries)
}

// Endpoint returns one endpoint, deleted ones included, or store.ErrNotFound.
func (t *Tenant) Endpoint(ctx context.Context, id string) (store.Endpoint, error) {
	if t.err != nil {
		return store.Endpoint{}, t.err
	}
	ep, err := t.sender.st.Endpoint(ctx, t.scope, id)
	return public(ep), err
}

// Endpoints returns a page of endpoints, oldest first, without deleted ones unless
// the query asks for them.
func (t *Tenant) Endpoints(ctx context.Context, q store.EndpointQuery) ([]store.Endpoint, error) {
	if t.err != nil {
		return nil, t.err
	}
	eps, err := t.sender.st.ListEndpoints(ctx, t.scope, q)
	for i := range eps {
		eps[i] = public(eps[i])
	}
	return eps, err
}

// EndpointHistory returns every change of an endpoint, oldest first: when, who,
// and the values before and after, without secrets and the values of headers.
func (t *Tenant) EndpointHistory(ctx context.Context, id string) ([]store.Change, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.sender.st.EndpointHistory(ctx, t.scope, id)
}

// SendTest queues a signed webhook.test event for one enabled endpoint: one
// attempt, no retry, whatever it selects and without effect on its health. Any
// HTTP answer counts as delivered, that is, the endpoint was reached. Its outcome
// stands in the delivery log.
func (t *Tenant) SendTest(ctx context.Context, endpointID string) (Receipt, error) {
	if t.err != nil {
		return Receipt{}, t.err
	}
	ep, err := t.sender.st.Endpoint(ctx, t.scope, endpointID)
	if err != nil {
		return Receipt{}, err
	}
	switch ep.State {
	case store.Disabled:
		return Receipt{}, fmt.Errorf("%w: %s", store.ErrDisabled, endpointID)
	case store.Deleted:
		return Receipt{}, fmt.Errorf("%w: %s", store.ErrDeleted, endpointID)
	case store.Enabled:
	}
	return t.sendTest(ctx, &ep)
}

func (t *Tenant) sendTest(ctx context.Context, ep *store.Endpoint) (Receipt, error) {
	s := t.sender
	if err := s.clock.ask(ctx, s.st); err != nil {
		return Receipt{}, err
	}
	e := Event{Type: testEventType, Data: testData{EndpointID: ep.ID, Message: "This is a test event. Your endpoint is registered."}}
	ev, err := e.prepare(s.clock.at(time.Now()), randomEventID, s.cfg.MaxEnvelope, true)
	if err != nil {
		return Receipt{}, err
	}
	ev.Scope = t.scope
	m := newMember(ev)
	m.event.For = []store.NewDelivery{{Endpoint: ep.Num}}
	return t.send(ctx, m)
}

type testData struct {
	EndpointID string `json:"endpoint_id"`
	Message    string `json:"message"`
}

// checkSchemes refuses schemes that an endpoint's secrets can't serve.
func (s *Sender) checkSchemes(ctx context.Context, ep *store.Endpoint) error {
	if err := s.clock.ask(ctx, s.st); err != nil {
		return err
	}
	now := s.clock.at(time.Now())
	o, err := openSecrets(s.cfg.Keyring, ep, now)
	if err != nil {
		return err
	}
	secrets, _ := o.current(now)
	if _, err := s.cfg.bind(ep.Schemes, secrets); err != nil {
		return &EndpointError{"Schemes", err.Error()}
	}
	return nil
}

// setURL gives an endpoint a URL. One that the endpoint has already, in whatever
// spelling, was judged when it was set: forms send all fields, and rules that became
// stricter since must not stand in the way of the others.
func (s *Sender) setURL(ep *store.Endpoint, raw string) error {
	if raw == ep.URL && raw != "" {
		return nil
	}
	if u, err := parseEndpointURL(raw, urlRules{}); err == nil && u.text == ep.URL {
		return nil
	}
	u, err := parseEndpointURL(raw, urlRules{requireHTTPS: s.cfg.RequireHTTPS, mode: ep.Mode, policy: s.poster.policy})
	if err != nil {
		return err
	}
	ep.URL, ep.URLKey = u.text, u.key
	return nil
}

// checkEndpoint checks what people set, but for the URL.
func (s *Sender) checkEndpoint(ep *store.Endpoint) error {
	if err := validSelection(ep.EventTypes); err != nil {
		return err
	}
	if _, ok := s.cfg.schedule(ep.Schedule); !ok {
		return &EndpointError{"Schedule", fmt.Sprintf("%.100q is not a name in Options.Schedules", ep.Schedule)}
	}
	for i, name := range ep.Schemes {
		if s.cfg.schemes[name] == nil || slices.Contains(ep.Schemes[:i], name) {
			return &EndpointError{"Schemes", fmt.Sprintf("%.100q is not in Options.Schemes, or is there twice", name)}
		}
	}
	if err := s.cfg.checkTimeout(ep.Timeout); err != nil {
		return err
	}
	if err := s.cfg.checkHeaders(ep.Headers); err != nil {
		return err
	}
	if err := checkText("Description", ep.Description, maxDescription); err != nil {
		return err
	}
	if err := checkText("Reason", ep.Reason, maxDescription); err != nil {
		return err
	}
	if len(ep.Metadata) > maxMetadata {
		return &EndpointError{"Metadata", fmt.Sprintf("has %d entries, more than %d", len(ep.Metadata), maxMetadata)}
	}
	for k, v := range ep.Metadata {
		if err := errors.Join(checkText("Metadata", k, maxMetadataKey), checkText("Metadata", v, maxMetadataValue)); err != nil {
			return err
		}
	}
	return nil
}

func (c *config) checkTimeout(d time.Duration) error {
	switch {
	case d == 0:
	case d < minTimeout || d > store.MaxTimeout:
		return &EndpointError{"Timeout", fmt.Sprintf("is %s; it must be from %s to %s", d, minTimeout, store.MaxTimeout)}
	case d+minLeaseMargin > c.Lease:
		return &EndpointError{"Timeout", fmt.Sprintf("is %s, and Options.Lease %s; a Lease of %s or more allows it", d, c.Lease, d+minLeaseMargin)}
	}
	return nil
}

func checkText(field, text string, limit int) error {
	switch {
	case len(text) > limit:
		return &EndpointError{field, fmt.Sprintf("has %d bytes, more than %d", len(text), limit)}
	case !utf8.ValidString(text) || slices.Contains([]byte(text), 0):
		return &EndpointError{field, "is not valid UTF-8 without NUL"}
	}
	return nil
}

// public is an endpoint as applications see it: without ciphertext, which is of no
// use to them.
func public(ep store.Endpoint) store.Endpoint {
	ep.Sealed = store.CloneSealed(ep.Sealed)
	for _, v := range ep.SealedValues() {
		v.Sealed = nil
	}
	return ep
}

func newID(prefix string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("sender: making an id: %w", err)
	}
	return prefix + id.String(), nil
}
