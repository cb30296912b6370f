package sender

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// everySecond is a schedule without an end.
type everySecond struct{}

func (everySecond) Next(retry.Failure) (time.Duration, bool) { return time.Second, true }

type panickingSchedule struct{}

func (panickingSchedule) Next(retry.Failure) (time.Duration, bool) { panic("schedule") }

// panickingScheme panics when it signs.
type panickingScheme struct{ signing.Scheme }

type panickingKey struct{ signing.Key }

func (panickingScheme) Name() string { return "panicking" }

func (s panickingScheme) Bind(secrets ...signing.Secret) (signing.Key, error) {
	k, err := s.Scheme.Bind(secrets...)
	return panickingKey{k}, err
}

func (panickingKey) SetHeaders(h http.Header, m signing.Message) {
	if m.ID != "" && m.ID[0] == 'e' { // binding tries it with another id
		panic("scheme")
	}
	h.Set("X-Signature", "none")
}

// panickingRing panics when it opens.
type panickingRing struct{ keyring.Sealer }

func (panickingRing) Open([]byte, string, []byte, []byte) ([]byte, error) { panic("ring") }

// Code of the application's that panics fails its own attempts and nobody else's.
func TestPanicsStopNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(_ context.Context, name, _ string) (int, error) {
			switch name {
			case "transport.example":
				panic("transport")
			case "schedule.example":
				return 500, nil
			case "hook.example":
				return 410, nil
			}
			return 200, nil
		}
		var told []string
		s := b.start(b.mem, Options{
			Schemes:   []signing.Scheme{signing.Standard, panickingScheme{signing.Timestamped("X-Signature")}},
			Schedules: map[string]retry.Schedule{"panics": panickingSchedule{}},
			Hooks: Hooks{
				DeliveryExhausted: func(context.Context, Exhaustion) { panic("hook") },
				EndpointDisabled: func(_ context.Context, ep store.Endpoint) {
					told = append(told, ep.ID)
				},
			},
		})
		register := func(name, scheme, schedule string) store.Endpoint {
			ep, _, err := s.CreateEndpoint(t.Context(), EndpointSpec{
				URL: "https://" + name + "/", EventTypes: []string{"*"}, Schemes: []string{scheme}, Schedule: schedule, NoTestEvent: true,
			})
			require.NoError(t, err)
			return ep
		}
		register("transport.example", "standard", "")
		register("scheme.example", "panicking", "")
		register("schedule.example", "standard", "panics")
		hooked := register("hook.example", "standard", "")
		register("good.example", "standard", "")
		for range 100 {
			b.send(&s.Tenant, "")
		}
		b.pass(10 * time.Second)
		require.Len(t, b.net.arrivals("good.example"), 100)
		require.True(t, s.lanes.idle())
		require.Equal(t, []string{hooked.ID}, told)
		require.Contains(t, b.log.String(), "an attempt panicked")
		require.Contains(t, b.log.String(), "a hook panicked")
		list, err := s.Deliveries(t.Context(), store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1000})
		require.NoError(t, err)
		failed := 0
		for _, d := range list {
			if d.EndpointID == hooked.ID {
				continue // disabled by its 410: these wait
			}
			failed++
			require.Equal(t, 1, d.Failures, "failed, and on the schedule: the default one where theirs panics")
		}
		require.Equal(t, 300, failed)
	})
}

func TestPanickingKeyring(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.start(b.mem, Options{Keyring: panickingRing{keyring.Plaintext}})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Minute)
		d, attempts := b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Pending, d.State)
		require.Empty(t, attempts)
		require.Contains(t, b.log.String(), "the keyring panicked")
		require.True(t, s.lanes.idle())
	})
}
