package sender_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// CheckURL says what CreateEndpoint and EditEndpoint would, and changes nothing.
func TestCheckURL(t *testing.T) {
	hooks, err := sender.New(memory.New(), &sender.Options{PlaintextSecrets: true})
	require.NoError(t, err)
	acme, ctx := hooks.For("acme", store.Live), t.Context()
	create := func(url string) store.Endpoint {
		ep, _, err := acme.CreateEndpoint(ctx, sender.EndpointSpec{URL: url, EventTypes: []string{"*"}, NoTestEvent: true})
		require.NoError(t, err)
		return ep
	}
	one, two := create("https://example.com./hooks"), create("https://example.com/")
	gone := create("https://example.com/gone")
	require.NoError(t, acme.DeleteEndpoint(ctx, gone.ID))
	_, _, err = hooks.For("globex", store.Live).CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/theirs", EventTypes: []string{"*"}, NoTestEvent: true})
	require.NoError(t, err)
	for _, c := range []struct {
		id, url string
		want    error
	}{
		{"", "https://example.com/new", nil},
		{"", "https://example.com/gone", nil},
		{"", "https://example.com/theirs", nil},
		{"", "https://EXAMPLE.com:443/hooks", store.ErrDuplicateURL},
		{"", "https://example.com", store.ErrDuplicateURL},
		{"", "example.com/hooks", sender.ErrInvalidURL},
		{"", "https://127.0.0.1/", sender.ErrInvalidURL},
		{"", "", sender.ErrInvalidURL},
		{one.ID, "https://example.com/hooks", nil},
		{one.ID, one.URL, nil},
		{one.ID, "https://example.com/", store.ErrDuplicateURL},
		{two.ID, "https://example.com", nil},
		{two.ID, "ftp://example.com", sender.ErrInvalidURL},
		{"ep_unknown", "https://example.com/new", store.ErrNotFound},
		{gone.ID, "https://example.com/new", store.ErrDeleted},
	} {
		require.ErrorIs(t, acme.CheckURL(ctx, c.id, c.url), c.want, "%s for %q", c.url, c.id)
	}
	eps, err := acme.Endpoints(ctx, store.EndpointQuery{})
	require.NoError(t, err)
	require.Len(t, eps, 2)
	require.Error(t, hooks.For("bad\x00", store.Live).CheckURL(ctx, "", "https://example.com"))
}
