package sender_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// measuring is a scheme that counts the bytes it signs.
type measuring struct{ signed *int }

func (measuring) Name() string { return "measuring" }

func (m measuring) Bind(...signing.Secret) (signing.Key, error) { return m, nil }

func (m measuring) AppendSignature(dst []byte, _ signing.Message) []byte { return append(dst, '1') }

func (m measuring) SetHeaders(h http.Header, s signing.Message) {
	*m.signed += len(s.Body)
	h.Set("X-Sum", "1")
}

func (measuring) Verify(http.Header, []byte, time.Time, signing.Limits) (signing.Message, error) {
	return signing.Message{}, signing.ErrNoMatch
}

// A page tells the headers of many attempts: that must not cost what signing does.
func TestRequestHeaderSignsNothing(t *testing.T) {
	signed := 0
	hooks, err := sender.New(memory.New(), &sender.Options{Schemes: []signing.Scheme{measuring{&signed}}})
	require.NoError(t, err)
	ev := store.Event{ID: "evt_1", Type: "push", ContentType: "application/json", Body: make([]byte, 1<<20)}
	h := hooks.For("acme", store.Live).RequestHeader(store.Endpoint{}, ev, store.Attempt{URL: "https://example.com"})
	require.Equal(t, sender.SignatureNotKept, h.Get("X-Sum"))
	require.Equal(t, "application/json", h.Get("Content-Type"))
	require.Zero(t, signed)
}
