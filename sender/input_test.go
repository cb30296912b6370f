package sender_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
	"github.com/hookpost/hookpost/store/memory"
)

func TestBadOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		st   store.Store
		o    sender.Options
		is   error
		says string // what is wrong, or what would be right
	}{
		"nil store":                       {nil, sender.Options{}, sender.ErrNoStore, "memory.New()"},
		"durable store without a keyring": {durable{memory.New()}, sender.Options{}, sender.ErrNoKeyring, "Keyring"},
		"the same names the other way":    {durable{memory.New()}, sender.Options{}, sender.ErrNoKeyring, "PlaintextSecrets"},
		"keyring and plaintext":           {memory.New(), sender.Options{Keyring: keyring.Plaintext, PlaintextSecrets: true}, sender.ErrInvalidOptions, "PlaintextSecrets"},
		"GiveUpAfter over 30 days":        {memory.New(), sender.Options{GiveUpAfter: 30*day + 1}, sender.ErrInvalidOptions, "GiveUpAfter"},
		"GiveUpAfter negative":            {memory.New(), sender.Options{GiveUpAfter: -1}, sender.ErrInvalidOptions, "GiveUpAfter"},
		"lease shorter than the timeout":  {memory.New(), sender.Options{Lease: 9 * time.Second}, sender.ErrInvalidOptions, "Lease"},
		"lease as long as the timeout":    {memory.New(), sender.Options{HTTP: sender.HTTPOptions{Timeout: time.Minute}, Lease: time.Minute}, sender.ErrInvalidOptions, "at least 1m1s"},
		"negative timeout":                {memory.New(), sender.Options{HTTP: sender.HTTPOptions{Timeout: -1}}, sender.ErrInvalidOptions, "Timeout"},
		"endless timeout":                 {memory.New(), sender.Options{HTTP: sender.HTTPOptions{Timeout: math.MaxInt64}}, sender.ErrInvalidOptions, "HTTP.Timeout is"},
		"endless lease":                   {memory.New(), sender.Options{Lease: math.MaxInt64}, sender.ErrInvalidOptions, "Lease"},
		"poll interval":                   {memory.New(), sender.Options{PollInterval: -1}, sender.ErrInvalidOptions, "PollInterval"},
		"no slots":                        {memory.New(), sender.Options{MaxInFlight: -1}, sender.ErrInvalidOptions, "MaxInFlight"},
		"nil scheme":                      {memory.New(), sender.Options{Schemes: []signing.Scheme{nil}}, sender.ErrInvalidOptions, "Schemes"},
		"scheme twice":                    {memory.New(), sender.Options{Schemes: []signing.Scheme{signing.Standard, signing.Standard}}, sender.ErrInvalidOptions, "twice"},
		"nil schedule":                    {memory.New(), sender.Options{Schedules: map[string]retry.Schedule{"x": nil}}, sender.ErrInvalidOptions, "Schedules"},
		"schedule without a name":         {memory.New(), sender.Options{Schedules: map[string]retry.Schedule{"": retry.None}}, sender.ErrInvalidOptions, "Schedules"},
		"payloads kept too short":         {memory.New(), sender.Options{KeepPayloads: time.Hour}, sender.ErrInvalidOptions, "KeepPayloads"},
		"log kept too short":              {memory.New(), sender.Options{KeepLog: time.Hour}, sender.ErrInvalidOptions, "KeepLog"},
		"wrapped to nothing": {memory.New(), sender.Options{HTTP: sender.HTTPOptions{
			WrapTransport: func(http.RoundTripper) http.RoundTripper { return nil },
		}}, sender.ErrInvalidOptions, "WrapTransport"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sender.New(tc.st, &tc.o)
			require.Nil(t, s)
			require.ErrorIs(t, err, tc.is)
			require.Contains(t, err.Error(), tc.says)
			require.True(t, strings.HasPrefix(err.Error(), "sender: "), err)
		})
	}
	_, err := sender.New(memory.New(), nil)
	require.NoError(t, err, "all defaults")
	_, err = sender.New(memory.New(), &sender.Options{GiveUpAfter: 30 * day, KeepPayloads: -1, KeepLog: -1, DisableAfter: -1, MaxEnvelope: -1})
	require.NoError(t, err)
	_, err = sender.New(durable{memory.New()}, &sender.Options{PlaintextSecrets: true})
	require.NoError(t, err)
}

func TestBadEndpoints(t *testing.T) {
	const good = "https://shop.example/hook"
	long := strings.Repeat("x", 5000)
	all := []string{"*"}
	secret := signing.NewSecret()
	short, err := signing.ParseSecret("whsec_c2hvcnQ=")
	require.NoError(t, err)
	many := make(map[string]string)
	for i := range 60 {
		many[strings.Repeat("k", i+1)] = ""
	}
	for name, tc := range map[string]struct {
		spec sender.EndpointSpec
		is   error
		says string
	}{
		"no URL":                   {sender.EndpointSpec{EventTypes: all}, sender.ErrInvalidURL, "empty"},
		"relative URL":             {sender.EndpointSpec{URL: "/webhooks", EventTypes: all}, sender.ErrInvalidURL, "not absolute"},
		"no scheme":                {sender.EndpointSpec{URL: "shop.example/hook", EventTypes: all}, sender.ErrInvalidURL, "https://"},
		"scheme relative":          {sender.EndpointSpec{URL: "//shop.example/hook", EventTypes: all}, sender.ErrInvalidURL, "not absolute"},
		"ftp":                      {sender.EndpointSpec{URL: "ftp://shop.example/hook", EventTypes: all}, sender.ErrInvalidURL, "http and https"},
		"file":                     {sender.EndpointSpec{URL: "file:///etc/passwd", EventTypes: all}, sender.ErrInvalidURL, "http and https"},
		"javascript":               {sender.EndpointSpec{URL: "javascript:alert(1)", EventTypes: all}, sender.ErrInvalidURL, "http and https"},
		"user":                     {sender.EndpointSpec{URL: "https://user@shop.example", EventTypes: all}, sender.ErrInvalidURL, "user name"},
		"user and password":        {sender.EndpointSpec{URL: "https://user:hunter2@shop.example", EventTypes: all}, sender.ErrInvalidURL, "user name"},
		"empty user":               {sender.EndpointSpec{URL: "https://@shop.example", EventTypes: all}, sender.ErrInvalidURL, "user name"},
		"fragment":                 {sender.EndpointSpec{URL: good + "#hunter2", EventTypes: all}, sender.ErrInvalidURL, "fragment"},
		"empty fragment":           {sender.EndpointSpec{URL: good + "#", EventTypes: all}, sender.ErrInvalidURL, "fragment"},
		"empty host":               {sender.EndpointSpec{URL: "https:///hook", EventTypes: all}, sender.ErrInvalidURL, "no host"},
		"only a port":              {sender.EndpointSpec{URL: "https://:8443/hook", EventTypes: all}, sender.ErrInvalidURL, "no host"},
		"opaque":                   {sender.EndpointSpec{URL: "https:shop.example", EventTypes: all}, sender.ErrInvalidURL, "no host"},
		"port 0":                   {sender.EndpointSpec{URL: "https://shop.example:0", EventTypes: all}, sender.ErrInvalidURL, "port"},
		"port too large":           {sender.EndpointSpec{URL: "https://shop.example:65536", EventTypes: all}, sender.ErrInvalidURL, ""},
		"port of another service":  {sender.EndpointSpec{URL: "https://shop.example:5432", EventTypes: all}, sender.ErrInvalidURL, "port 5432 is usually PostgreSQL"},
		"privileged port":          {sender.EndpointSpec{URL: "https://shop.example:22", EventTypes: all}, sender.ErrInvalidURL, "port 22 is not allowed"},
		"bad port of Fetch":        {sender.EndpointSpec{URL: "https://shop.example:10080", EventTypes: all}, sender.ErrInvalidURL, "port 10080"},
		"space in the URL":         {sender.EndpointSpec{URL: "https://shop.example/a b", EventTypes: all}, sender.ErrInvalidURL, "space"},
		"NUL in the URL":           {sender.EndpointSpec{URL: "https://shop.example/\x00", EventTypes: all}, sender.ErrInvalidURL, "control"},
		"invalid UTF-8 in the URL": {sender.EndpointSpec{URL: "https://shop.example/\xff", EventTypes: all}, sender.ErrInvalidURL, "UTF-8"},
		"URL too long":             {sender.EndpointSpec{URL: good + long, EventTypes: all}, sender.ErrInvalidURL, "bytes"},
		"private address":          {sender.EndpointSpec{URL: "https://10.1.2.3/hook", EventTypes: all}, sender.ErrInvalidURL, ""},
		"cloud metadata":           {sender.EndpointSpec{URL: "http://169.254.169.254/latest", EventTypes: all}, sender.ErrInvalidURL, ""},
		"empty selection":          {sender.EndpointSpec{URL: good}, sender.ErrInvalidSelection, "empty"},
		"empty type":               {sender.EndpointSpec{URL: good, EventTypes: []string{""}}, sender.ErrInvalidSelection, `neither an event type such as "payment.succeeded", nor`},
		"type with spaces":         {sender.EndpointSpec{URL: good, EventTypes: []string{"payment succeeded"}}, sender.ErrInvalidSelection, "payment succeeded"},
		"star inside":              {sender.EndpointSpec{URL: good, EventTypes: []string{"payment.*.created"}}, sender.ErrInvalidSelection, ""},
		"half a word and a star":   {sender.EndpointSpec{URL: good, EventTypes: []string{"pay*"}}, sender.ErrInvalidSelection, ""},
		"only star and stop":       {sender.EndpointSpec{URL: good, EventTypes: []string{".*"}}, sender.ErrInvalidSelection, ""},
		"NUL in a type":            {sender.EndpointSpec{URL: good, EventTypes: []string{"a\x00"}}, sender.ErrInvalidSelection, ""},
		"reserved type":            {sender.EndpointSpec{URL: good, EventTypes: []string{"webhook.test"}}, sender.ErrInvalidSelection, "reserved"},
		"unknown schedule":         {sender.EndpointSpec{URL: good, EventTypes: all, Schedule: "weekly"}, sender.ErrInvalidEndpoint, "weekly"},
		"unknown scheme":           {sender.EndpointSpec{URL: good, EventTypes: all, Schemes: []string{"rot13"}}, sender.ErrInvalidEndpoint, "rot13"},
		"scheme twice":             {sender.EndpointSpec{URL: good, EventTypes: all, Schemes: []string{"standard", "standard"}}, sender.ErrInvalidEndpoint, "twice"},
		"description too long":     {sender.EndpointSpec{URL: good, EventTypes: all, Description: long}, sender.ErrInvalidEndpoint, "Description"},
		"NUL in the description":   {sender.EndpointSpec{URL: good, EventTypes: all, Description: "a\x00b"}, sender.ErrInvalidEndpoint, "Description"},
		"description not UTF-8":    {sender.EndpointSpec{URL: good, EventTypes: all, Description: "\xff"}, sender.ErrInvalidEndpoint, "Description"},
		"NUL in the reason":        {sender.EndpointSpec{URL: good, EventTypes: all, Disabled: true, Reason: "\x00"}, sender.ErrInvalidEndpoint, "Reason"},
		"reason but enabled":       {sender.EndpointSpec{URL: good, EventTypes: all, Reason: "moved"}, sender.ErrInvalidEndpoint, "Reason"},
		"metadata: too many":       {sender.EndpointSpec{URL: good, EventTypes: all, Metadata: many}, sender.ErrInvalidEndpoint, "Metadata"},
		"metadata: key":            {sender.EndpointSpec{URL: good, EventTypes: all, Metadata: map[string]string{"\xff": ""}}, sender.ErrInvalidEndpoint, "Metadata"},
		"metadata: value":          {sender.EndpointSpec{URL: good, EventTypes: all, Metadata: map[string]string{"a": "\x00"}}, sender.ErrInvalidEndpoint, "Metadata"},
		"short secret":             {sender.EndpointSpec{URL: good, EventTypes: all, Secret: short}, sender.ErrInvalidEndpoint, "Secret"},
		"only more secrets":        {sender.EndpointSpec{URL: good, EventTypes: all, MoreSecrets: []signing.Secret{secret}}, sender.ErrInvalidEndpoint, "MoreSecrets"},
		"a secret twice":           {sender.EndpointSpec{URL: good, EventTypes: all, Secret: secret, MoreSecrets: []signing.Secret{secret}}, sender.ErrInvalidEndpoint, "twice"},
		"zero among more secrets":  {sender.EndpointSpec{URL: good, EventTypes: all, Secret: secret, MoreSecrets: []signing.Secret{{}}}, sender.ErrInvalidEndpoint, "Secret"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newQuiet(t, nil)
			ep, secret, err := s.CreateEndpoint(t.Context(), tc.spec)
			require.ErrorIs(t, err, tc.is)
			require.Contains(t, err.Error(), tc.says)
			require.Less(t, len(err.Error()), 1000)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "c2hvcnQ")
			require.Zero(t, ep)
			require.True(t, secret.IsZero())
			requireEmpty(t, &s.Tenant)

			// The same as an edit changes nothing either.
			edit := sender.EndpointEdit{EventTypes: tc.spec.EventTypes, Metadata: tc.spec.Metadata, Schemes: tc.spec.Schemes}
			if edit.EventTypes == nil {
				edit.EventTypes = []string{}
			}
			edit.URL, edit.Schedule, edit.Description = &tc.spec.URL, &tc.spec.Schedule, &tc.spec.Description
			if tc.spec.Reason != "" || !tc.spec.Secret.IsZero() || tc.spec.MoreSecrets != nil {
				return // no edit can say that
			}
			before, _, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: good, EventTypes: []string{"push"}})
			require.NoError(t, err)
			_, err = s.EditEndpoint(t.Context(), before.ID, edit)
			require.ErrorIs(t, err, tc.is)
			after, err := s.Endpoint(t.Context(), before.ID)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
	t.Run("http where https is required", func(t *testing.T) {
		s := newQuiet(t, &sender.Options{RequireHTTPS: true})
		_, _, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "http://shop.example", EventTypes: all})
		require.ErrorIs(t, err, sender.ErrInvalidURL)
		require.Contains(t, err.Error(), "https")
	})
	t.Run("actor", func(t *testing.T) {
		s := newQuiet(t, nil)
		ep, _, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: good, EventTypes: all, NoTestEvent: true})
		require.NoError(t, err)
		for _, actor := range []string{"a\x00", "\xff", long} {
			ctx := sender.WithActor(t.Context(), actor)
			_, _, err := s.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://other.example", EventTypes: all})
			require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
			_, err = s.EditEndpoint(ctx, ep.ID, sender.EndpointEdit{Description: ptr("x")})
			require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
			require.ErrorIs(t, s.DeleteEndpoint(ctx, ep.ID), sender.ErrInvalidEndpoint)
		}
		history, err := s.EndpointHistory(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Len(t, history, 1)
	})
	t.Run("reasons of people", func(t *testing.T) {
		s := newQuiet(t, nil)
		ep, _, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: good, EventTypes: all, NoTestEvent: true})
		require.NoError(t, err)
		receipt, err := s.Send(t.Context(), sender.Event{Type: "push"})
		require.NoError(t, err)
		deliveries, err := s.Deliveries(t.Context(), store.DeliveryQuery{EventID: receipt.ID})
		require.NoError(t, err)
		for _, reason := range []string{"a\x00", "\xff", long} {
			_, err := s.DisableEndpoint(t.Context(), ep.ID, reason)
			require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
			require.Error(t, s.Cancel(t.Context(), deliveries[0].ID, reason))
		}
		now, err := s.Endpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, ep, now)
		d, _, err := s.Delivery(t.Context(), deliveries[0].ID)
		require.NoError(t, err)
		require.Equal(t, store.Pending, d.State)
	})
}

func TestBadEvents(t *testing.T) {
	for name, tc := range map[string]struct {
		event sender.Event
		field string
		says  string
	}{
		"no type":                 {sender.Event{}, "Type", "payment.succeeded"},
		"type with spaces":        {sender.Event{Type: "payment succeeded"}, "Type", "payment succeeded"},
		"type with a NUL":         {sender.Event{Type: "push\x00"}, "Type", ""},
		"type not UTF-8":          {sender.Event{Type: "push\xff"}, "Type", ""},
		"type not ASCII":          {sender.Event{Type: "zahlung.geprüft"}, "Type", ""},
		"type with an empty word": {sender.Event{Type: "payment..succeeded"}, "Type", ""},
		"type that ends in stop":  {sender.Event{Type: "payment."}, "Type", ""},
		"type with a star":        {sender.Event{Type: "payment.*"}, "Type", ""},
		"type too long":           {sender.Event{Type: strings.Repeat("x", 129)}, "Type", "128"},
		"reserved type":           {sender.Event{Type: "webhook.test"}, "Type", "reserved"},
		"id with a full stop":     {sender.Event{ID: "evt.1", Type: "push"}, "ID", "evt.1"},
		"id with a NUL":           {sender.Event{ID: "evt\x00", Type: "push"}, "ID", ""},
		"id not UTF-8":            {sender.Event{ID: "evt\xff", Type: "push"}, "ID", ""},
		"id with a line break":    {sender.Event{ID: "evt\r\nX: y", Type: "push"}, "ID", ""},
		"id too long":             {sender.Event{ID: strings.Repeat("x", 65), Type: "push"}, "ID", "64"},
		"not JSON":                {sender.Event{Type: "push", Data: []byte("{'a':1}")}, "Data", "not valid JSON"},
		"two values":              {sender.Event{Type: "push", Data: []byte("{}{}")}, "Data", "not valid JSON"},
		"half a value":            {sender.Event{Type: "push", Data: []byte(`{"a":`)}, "Data", "not valid JSON"},
		"out of the envelope":     {sender.Event{Type: "push", Data: []byte(`1},{"x":1`)}, "Data", "not valid JSON"},
		"empty":                   {sender.Event{Type: "push", Data: []byte{}}, "Data", "empty"},
		"JSON that is not UTF-8":  {sender.Event{Type: "push", Data: []byte("\"\xff\"")}, "Data", "UTF-8"},
		"JSON with a NUL":         {sender.Event{Type: "push", Data: []byte("\"\x00\"")}, "Data", "not valid JSON"},
		"can't be marshalled":     {sender.Event{Type: "push", Data: make(chan int)}, "Data", "marshalled"},
		"envelope over the limit": {sender.Event{Type: "push", Data: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}, "Data", "1048576"},
		"value over the limit":    {sender.Event{Type: "push", Data: strings.Repeat("x", 1<<20)}, "Data", "MaxEnvelope"},
		"body over the limit":     {sender.Event{Type: "push", Body: make([]byte, 1<<20+1)}, "Body", "MaxEnvelope"},
		"data and body":           {sender.Event{Type: "push", Data: 1, Body: []byte("x")}, "Body", "one of them"},
		"content type":            {sender.Event{Type: "push", ContentType: "a\r\nX: y"}, "ContentType", "application/json"},
		"year 10000":              {sender.Event{Type: "push", CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "CreatedAt", "9999"},
		"too many refs":           {sender.Event{Type: "push", Refs: make([]string, 9)}, "Refs", "8"},
		"empty ref":               {sender.Event{Type: "push", Refs: []string{""}}, "Refs", "empty"},
		"ref with a NUL":          {sender.Event{Type: "push", Refs: []string{"a\x00"}}, "Refs", "NUL"},
		"ref not UTF-8":           {sender.Event{Type: "push", Refs: []string{"\xff"}}, "Refs", "UTF-8"},
		"ref too long":            {sender.Event{Type: "push", Refs: []string{strings.Repeat("x", 256)}}, "Refs", "255"},
	} {
		t.Run(name, func(t *testing.T) {
			st := memory.New()
			s := newQuietOn(t, st, nil)
			_, single := s.Send(t.Context(), tc.event)
			_, batch := s.SendBatch(t.Context(), []sender.Event{tc.event})
			tx := st.Begin()
			_, inTx := s.SendTx(t.Context(), tx, tc.event)
			require.NoError(t, tx.Commit())
			for _, err := range []error{single, batch, inTx} {
				require.ErrorIs(t, err, sender.ErrInvalidEvent)
				var event *sender.EventError
				require.ErrorAs(t, err, &event)
				require.Equal(t, tc.field, event.Field)
				require.Contains(t, err.Error(), tc.says)
				require.Less(t, len(err.Error()), 1000)
			}
			requireEmpty(t, &s.Tenant)
		})
	}
}

func TestMaxEnvelope(t *testing.T) {
	s := newQuiet(t, &sender.Options{MaxEnvelope: 200})
	_, err := s.Send(t.Context(), sender.Event{Type: "push", Data: strings.Repeat("x", 200)})
	require.ErrorIs(t, err, sender.ErrInvalidEvent)
	_, err = s.Send(t.Context(), sender.Event{Type: "push", Data: strings.Repeat("x", 50)})
	require.NoError(t, err)
	s = newQuiet(t, &sender.Options{MaxEnvelope: -1})
	_, err = s.Send(t.Context(), sender.Event{Type: "push", Data: strings.Repeat("x", 2<<20)})
	require.NoError(t, err)
}

// everyMethod calls all methods of a tenant that can fail.
func everyMethod(ctx context.Context, tenant *sender.Tenant, tx store.Tx) map[string]error {
	errs := map[string]error{
		"Send":            second(tenant.Send(ctx, sender.Event{Type: "push"})),
		"SendBatch":       second(tenant.SendBatch(ctx, []sender.Event{{Type: "push"}})),
		"SendTx":          second(tenant.SendTx(ctx, tx, sender.Event{Type: "push"})),
		"SendTest":        second(tenant.SendTest(ctx, "ep_1")),
		"EditEndpoint":    second(tenant.EditEndpoint(ctx, "ep_1", sender.EndpointEdit{})),
		"DisableEndpoint": second(tenant.DisableEndpoint(ctx, "ep_1", "")),
		"EnableEndpoint":  second(tenant.EnableEndpoint(ctx, "ep_1")),
		"DeleteEndpoint":  tenant.DeleteEndpoint(ctx, "ep_1"),
		"Endpoint":        second(tenant.Endpoint(ctx, "ep_1")),
		"Endpoints":       second(tenant.Endpoints(ctx, store.EndpointQuery{})),
		"EndpointHistory": second(tenant.EndpointHistory(ctx, "ep_1")),
		"Event":           second(tenant.Event(ctx, "evt_1")),
		"Events":          second(tenant.Events(ctx, store.EventQuery{})),
		"Deliveries":      second(tenant.Deliveries(ctx, store.DeliveryQuery{})),
		"Cancel":          tenant.Cancel(ctx, store.DeliveryID{}, ""),
		"Replay":          second(tenant.Replay(ctx, "evt_1", "ep_1")),
		"Recover":         second(tenant.Recover(ctx, sender.Recovery{})),
		"Explain":         second(tenant.Explain(ctx, "evt_1", "ep_1")),
	}
	_, _, errs["CreateEndpoint"] = tenant.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://shop.example", EventTypes: []string{"*"}})
	_, _, errs["Delivery"] = tenant.Delivery(ctx, store.DeliveryID{})
	return errs
}

func TestUnknownModeAndBadTenant(t *testing.T) {
	st := memory.New()
	s := newQuietOn(t, st, nil)
	for name, tc := range map[string]struct {
		tenant *sender.Tenant
		says   string
	}{
		"no mode":      {s.For("acme", 0), "store.Live nor store.Test"},
		"unknown mode": {s.For("acme", 3), "store.Live nor store.Test"},
		"NUL":          {s.For("a\x00", store.Live), "NUL"},
		"not UTF-8":    {s.For("\xff", store.Live), "UTF-8"},
		"too long":     {s.For(strings.Repeat("x", 256), store.Live), "255"},
	} {
		for method, err := range everyMethod(t.Context(), tc.tenant, st.Begin()) {
			require.ErrorIs(t, err, store.ErrInvalid, "%s: %s", name, method)
			require.Contains(t, err.Error(), tc.says, "%s: %s", name, method)
		}
	}
	requireEmpty(t, &s.Tenant)
}

func TestCancelledContext(t *testing.T) {
	cause, cancel := context.WithCancel(context.Background())
	cancel()
	st := memory.New()
	s := newQuietOn(t, st, nil)
	for method, err := range everyMethod(cause, &s.Tenant, st.Begin()) {
		require.ErrorIs(t, err, context.Canceled, method)
		require.False(t, errors.Is(err, sender.ErrOutcomeUnknown), method)
	}
	receipt, err := s.Send(cause, sender.Event{Type: "push"})
	require.ErrorIs(t, err, context.Canceled)
	require.NotEmpty(t, receipt.ID, "it can be sent again under the same id")
	require.ErrorIs(t, s.Start(cause), context.Canceled)
	requireEmpty(t, &s.Tenant)
	require.NoError(t, s.Start(t.Context()), "Start can be tried again")
	require.NoError(t, s.Stop(t.Context()))
}

func TestClosedStore(t *testing.T) {
	st := memory.New()
	s := newQuietOn(t, st, nil)
	tx := st.Begin()
	require.NoError(t, st.Close())
	for method, err := range everyMethod(t.Context(), &s.Tenant, tx) {
		require.ErrorIs(t, err, store.ErrClosed, method)
	}
}
