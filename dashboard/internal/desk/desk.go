// Package desk is what the pages and the JSON of the dashboard have in common: the
// operations of one visitor on one tenant in one mode, each behind its right.
package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// ErrForbidden says that the visitor lacks the right.
var ErrForbidden = errors.New("dashboard: not allowed")

// Right is one thing that a visitor may do; Rights in package dashboard has the
// same bits.
type Right uint8

// The rights.
const (
	Manage Right = 1 << iota
	Replay
	RotateSecrets
)

// Reader is what every visitor may do: the part of sender.Tenant that changes
// nothing.
type Reader interface {
	Scope() store.Scope
	Endpoint(ctx context.Context, id string) (store.Endpoint, error)
	Endpoints(ctx context.Context, q store.EndpointQuery) ([]store.Endpoint, error)
	EndpointHistory(ctx context.Context, id string) ([]store.Change, error)
	EndpointStats(ctx context.Context, endpointID string, upTo int) (sender.EndpointStats, error)
	Activity(ctx context.Context, endpointIDs []string, newest int) ([]store.Activity, error)
	RecentAttempts(ctx context.Context, endpointID string, newest int) ([]store.Attempt, error)
	Event(ctx context.Context, id string) (store.Event, error)
	SearchEvents(ctx context.Context, q store.EventQuery, look int) ([]store.Event, int64, error)
	Deliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error)
	SearchDeliveries(ctx context.Context, q store.DeliveryQuery, look int) ([]store.Delivery, store.DeliveryID, error)
	Delivery(ctx context.Context, id store.DeliveryID) (store.Delivery, []store.Attempt, error)
	EndpointsOf(ctx context.Context, deliveries []store.Delivery) (map[string]store.Endpoint, error)
	RequestHeader(ep store.Endpoint, ev store.Event, a store.Attempt) http.Header
	Explain(ctx context.Context, eventID, endpointID string) (sender.Explanation, error)
	ExplainDelivery(ctx context.Context, id store.DeliveryID) (sender.Explanation, error)
}

var _ Reader = (*sender.Tenant)(nil)

// Desk is where one visitor works on one tenant in one mode. It lives as long as a
// request.
type Desk struct {
	Reader
	Actor string

	office *Office
	tenant *sender.Tenant
	rights Right
}

// Office is what all desks share: the Sender, and the recoveries and counts that run.
type Office struct {
	hooks      *sender.Sender
	recoveries recoveries
	counts     counts
}

// NewOffice returns an office on a Sender. Close ends what it started.
func NewOffice(hooks *sender.Sender) *Office {
	o := &Office{hooks: hooks}
	o.recoveries.open()
	return o
}

// Close ends the recoveries that run and waits for them.
func (o *Office) Close() { o.recoveries.close() }

// EventTypes returns the catalogue.
func (o *Office) EventTypes() []sender.EventType { return o.hooks.EventTypes() }

// Desk returns the desk of a visitor. The caller has checked that the scope is
// theirs.
func (o *Office) Desk(actor string, scope store.Scope, rights Right) *Desk {
	t := o.hooks.For(scope.Tenant, scope.Mode)
	return &Desk{Reader: t, Actor: actor, office: o, tenant: t, rights: rights}
}

// Can reports whether the visitor has a right.
func (d *Desk) Can(r Right) bool { return d.rights&r == r }

// act returns the context of a change, or ErrForbidden.
func (d *Desk) act(ctx context.Context, r Right) (context.Context, error) {
	if !d.Can(r) {
		return nil, ErrForbidden
	}
	return sender.WithActor(ctx, d.Actor), nil
}

// CheckURL is sender.Tenant.CheckURL, for who may set a URL.
func (d *Desk) CheckURL(ctx context.Context, endpointID, rawURL string) error {
	if _, err := d.act(ctx, Manage); err != nil {
		return err
	}
	return d.tenant.CheckURL(ctx, endpointID, rawURL)
}

// CreateEndpoint is sender.Tenant.CreateEndpoint.
func (d *Desk) CreateEndpoint(ctx context.Context, spec sender.EndpointSpec) (store.Endpoint, signing.Secret, error) {
	ctx, err := d.act(ctx, Manage)
	if err != nil {
		return store.Endpoint{}, signing.Secret{}, err
	}
	return d.tenant.CreateEndpoint(ctx, spec)
}

// EditEndpoint is sender.Tenant.EditEndpoint.
func (d *Desk) EditEndpoint(ctx context.Context, id string, edit sender.EndpointEdit) (store.Endpoint, error) {
	ctx, err := d.act(ctx, Manage)
	if err != nil {
		return store.Endpoint{}, err
	}
	return d.tenant.EditEndpoint(ctx, id, edit)
}

// DisableEndpoint is sender.Tenant.DisableEndpoint.
func (d *Desk) DisableEndpoint(ctx context.Context, id, reason string) error {
	ctx, err := d.act(ctx, Manage)
	if err != nil {
		return err
	}
	_, err = d.tenant.DisableEndpoint(ctx, id, reason)
	return err
}

// EnableEndpoint is sender.Tenant.EnableEndpoint.
func (d *Desk) EnableEndpoint(ctx context.Context, id string) error {
	ctx, err := d.act(ctx, Manage)
	if err != nil {
		return err
	}
	_, err = d.tenant.EnableEndpoint(ctx, id)
	return err
}

// DeleteEndpoint is sender.Tenant.DeleteEndpoint.
func (d *Desk) DeleteEndpoint(ctx context.Context, id string) error {
	ctx, err := d.act(ctx, Manage)
	if err != nil {
		return err
	}
	return d.tenant.DeleteEndpoint(ctx, id)
}

// RotateSecret is sender.Tenant.RotateSecret with a new secret. A negative overlap
// ends the secrets so far at once.
func (d *Desk) RotateSecret(ctx context.Context, id string, overlap time.Duration) (store.Endpoint, signing.Secret, error) {
	ctx, err := d.act(ctx, RotateSecrets)
	if err != nil {
		return store.Endpoint{}, signing.Secret{}, err
	}
	return d.tenant.RotateSecret(ctx, id, &sender.Rotation{Overlap: overlap})
}

// RevokeSecret is sender.Tenant.RevokeSecret.
func (d *Desk) RevokeSecret(ctx context.Context, id, secretID string) error {
	ctx, err := d.act(ctx, RotateSecrets)
	if err != nil {
		return err
	}
	_, err = d.tenant.RevokeSecret(ctx, id, secretID)
	return err
}

// SendTest sends an endpoint a webhook.test event, or if eventType is not empty the
// example of that type, and returns its delivery.
func (d *Desk) SendTest(ctx context.Context, endpointID, eventType string) (store.DeliveryID, error) {
	ctx, err := d.act(ctx, Manage)
	if err != nil {
		return store.DeliveryID{}, err
	}
	var receipt sender.Receipt
	if eventType == "" {
		receipt, err = d.tenant.SendTest(ctx, endpointID)
	} else {
		receipt, err = d.tenant.SendExample(ctx, endpointID, eventType)
	}
	if err != nil {
		return store.DeliveryID{}, err
	}
	list, err := d.Deliveries(ctx, store.DeliveryQuery{EventID: receipt.ID, EndpointID: endpointID, Limit: 1})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w: the delivery of %s", store.ErrNotFound, receipt.ID)
	}
	if err != nil {
		return store.DeliveryID{}, err
	}
	return list[0].ID, nil
}

// Replay is sender.Tenant.Replay.
func (d *Desk) Replay(ctx context.Context, eventID, endpointID string) (store.DeliveryID, error) {
	ctx, err := d.act(ctx, Replay)
	if err != nil {
		return store.DeliveryID{}, err
	}
	return d.tenant.Replay(ctx, eventID, endpointID)
}

// Cancel is sender.Tenant.Cancel. The reason names the visitor.
func (d *Desk) Cancel(ctx context.Context, id store.DeliveryID) error {
	ctx, err := d.act(ctx, Replay)
	if err != nil {
		return err
	}
	reason := "cancelled"
	if d.Actor != "" {
		reason += " by " + d.Actor
	}
	return d.tenant.Cancel(ctx, id, reason)
}
