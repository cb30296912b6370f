package sender

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
	"github.com/hookpost/hookpost/store/memory"
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
		for _, what := range []string{
			"an attempt panicked", "HTTP.WrapTransport's *sender.fakeNet panicked", "the signature scheme's key sender.panickingKey panicked",
			"the schedule sender.panickingSchedule panicked", "a hook panicked",
		} {
			require.Contains(t, b.log.String(), what)
		}
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

// brokenScheme panics in one of its methods; its key where what says so.
type brokenScheme struct {
	signing.Scheme
	in string
}

type brokenKey struct {
	signing.Key
	in string
}

func (s brokenScheme) Name() string { return s.in }

func (s brokenScheme) Bind(secrets ...signing.Secret) (signing.Key, error) {
	if s.in == "Bind" {
		panic("with " + secrets[0].Reveal())
	}
	k, err := s.Scheme.Bind(secrets...)
	return brokenKey{k, s.in}, err
}

func (k brokenKey) SetHeaders(h http.Header, m signing.Message) {
	if k.in == "probe" && m.ID == "probe" || k.in == "sign" && m.ID != "probe" {
		_ = []byte(m.ID)[len(m.ID)]
	}
	k.Key.SetHeaders(h, m)
}

// An endpoint's scheme may begin to panic when a new version of the application runs:
// its deliveries fail, by the schedule, and the log says whose fault it is.
func TestPanickingSchemeFailsAttempts(t *testing.T) {
	for in, logged := range map[string]string{
		"Bind":  "the signature scheme sender.brokenScheme panicked: with a value of type string",
		"probe": "the signature scheme's key sender.brokenKey panicked: runtime error: index out of range",
		"sign":  "the signature scheme's key sender.brokenKey panicked: runtime error: index out of range",
	} {
		t.Run(in, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				good := b.start(b.mem, Options{Schemes: []signing.Scheme{brokenScheme{signing.Standard, in + "!"}}})
				ep, secret, err := good.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://" + host(1) + "/", EventTypes: []string{"*"}, NoTestEvent: true})
				require.NoError(t, err)
				require.NoError(t, good.Stop(t.Context()))
				var ends []AttemptEnd
				s := b.start(b.mem, Options{
					Schemes:  []signing.Scheme{brokenScheme{signing.Standard, in}},
					Schedule: retry.Steps(time.Minute),
					Observer: &Observer{AttemptDone: func(_ context.Context, e AttemptEnd) { ends = append(ends, e) }},
				})
				b.send(&s.Tenant, "a")
				b.pass(10 * time.Second)
				d, attempts := b.delivery(&s.Tenant, "a")
				require.Equal(t, store.Pending, d.State)
				require.Equal(t, 1, d.Failures)
				require.Len(t, attempts, 1)
				require.Equal(t, ClassPanic, attempts[0].Class)
				require.Equal(t, "the sender's own code failed", attempts[0].Error)
				b.pass(2 * time.Minute)
				d, attempts = b.delivery(&s.Tenant, "a")
				require.Equal(t, store.Exhausted, d.State, "by its schedule")
				require.Len(t, attempts, 2)
				require.Len(t, ends, 2)
				require.Contains(t, b.log.String(), logged)
				require.NotContains(t, b.log.String(), "keyring")
				require.NotContains(t, b.log.String(), secret.Reveal())
				require.True(t, s.lanes.idle())
				ev, err := s.Event(t.Context(), "a")
				require.NoError(t, err)
				require.NotNil(t, s.RequestHeader(ep, ev, store.Attempt{URL: ep.URL}), "for the dashboard")
				if in != "sign" {
					_, _, err = s.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://" + host(2) + "/", EventTypes: []string{"*"}, NoTestEvent: true, Headers: Headers{"X-A": Value("1")}})
					if in == "Bind" {
						require.ErrorIs(t, err, ErrInvalidEndpoint)
						require.ErrorContains(t, err, "the signature scheme sender.brokenScheme panicked")
					}
				}
			})
		})
	}
}

// sealPanics panics when it seals.
type sealPanics struct{ keyring.Sealer }

func (sealPanics) Seal(_, _, _ []byte) (string, []byte, error) { panic("seal") }

func TestPanickingKeyringInCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		good := b.start(b.mem, Options{})
		ep, _, err := good.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://" + host(1) + "/", EventTypes: []string{"*"}, NoTestEvent: true})
		require.NoError(t, err)
		for _, ring := range []keyring.Sealer{panickingRing{keyring.Plaintext}, sealPanics{keyring.Plaintext}} {
			s := b.start(b.mem, Options{Keyring: ring})
			_, _, err = s.RotateSecret(t.Context(), ep.ID, nil)
			require.ErrorContains(t, err, "the keyring panicked")
			_, _, err = s.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://" + host(2) + "/", EventTypes: []string{"*"}, NoTestEvent: true})
			if ring == (sealPanics{keyring.Plaintext}) {
				require.ErrorContains(t, err, "the keyring panicked")
				_, err = s.EditEndpoint(t.Context(), ep.ID, EndpointEdit{Headers: Headers{"X-A": Value("1")}})
				require.ErrorContains(t, err, "the keyring panicked")
			}
			b.pass(time.Hour)
		}
	})
}

// resolverFunc is a resolver.
type resolverFunc func() ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return f() }

// panickingBody panics when it is read.
type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("read") }
func (panickingBody) Close() error             { return nil }

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// These run on goroutines of net/http, where a panic would end the process.
func TestPanicsInARequest(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	local := Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	broken := local
	broken.Resolver = resolverFunc(func() ([]netip.Addr, error) { panic("resolver") })
	answer := func(status int) func(http.RoundTripper) http.RoundTripper {
		return func(http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: panickingBody{}}, nil
			})
		}
	}
	for name, c := range map[string]struct {
		o    HTTPOptions
		url  string
		says string // "" if nothing failed
	}{
		"resolver":          {HTTPOptions{Egress: broken}, "http://shop.example/", "Egress.Resolver"},
		"resolver, TLS":     {HTTPOptions{Egress: broken}, "https://shop.example/", "Egress.Resolver"},
		"verify":            {HTTPOptions{Egress: local, TLS: &tls.Config{RootCAs: roots, VerifyConnection: func(tls.ConnectionState) error { panic("verify") }}}, server.URL, "a function in HTTP.TLS"},
		"transport":         {HTTPOptions{WrapTransport: func(http.RoundTripper) http.RoundTripper { return roundTripperFunc(nil) }}, "https://shop.example/", "HTTP.WrapTransport's sender.roundTripperFunc panicked: runtime error"},
		"body of a success": {HTTPOptions{WrapTransport: answer(200)}, "https://shop.example/", ""},
		"body of a failure": {HTTPOptions{WrapTransport: answer(500)}, "https://shop.example/", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPoster(t, c.o)
			d, err := newDestination(c.url, testKeys(t))
			require.NoError(t, err)
			for range 2 {
				r := p.post(t.Context(), d, jsonType, testMessage())
				if c.says == "" {
					require.Equal(t, name == "body of a success", r.Outcome == store.AttemptDelivered)
					require.NotEqual(t, ClassPanic, r.Class)
					continue
				}
				require.Equal(t, ClassPanic, r.Class)
				require.ErrorContains(t, r.err, c.says)
				require.Equal(t, "the sender's own code failed", r.Error)
			}
		})
	}
}

func TestMaxInFlightIsTwoOrMore(t *testing.T) {
	for _, n := range []int{-1, 1, 100_001} {
		_, err := New(memory.New(), &Options{MaxInFlight: n})
		require.ErrorIs(t, err, ErrInvalidOptions)
		require.ErrorContains(t, err, "from 2 to 100000")
	}
	for _, n := range []int{0, 2, 100_000} {
		_, err := New(memory.New(), &Options{MaxInFlight: n})
		require.NoError(t, err)
	}
}
