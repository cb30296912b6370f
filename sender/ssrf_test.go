package sender

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/netguard"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// ssrfCase is an entry of the file that package netguard tests itself with. Here
// the cases go through the real client, with nothing replaced but the resolver
// and, under the guard, the dialler.
type ssrfCase struct {
	URL        string            `json:"url"`
	ResolvesTo []string          `json:"resolves_to"`
	Expect     string            `json:"expect"`
	Why        string            `json:"why"`
	Stage      string            `json:"stage"` // "redirect": what is refused is the answer
	Env        map[string]string `json:"env"`
	Redirect   struct {
		Status   int    `json:"status"`
		Location string `json:"location"`
	} `json:"redirect"`
}

func loadSSRFCases(tb testing.TB) []ssrfCase {
	tb.Helper()
	data, err := os.ReadFile("../internal/netguard/testdata/ssrf_cases.json")
	require.NoError(tb, err)
	var cases []ssrfCase
	require.NoError(tb, json.Unmarshal(data, &cases))
	require.Greater(tb, len(cases), 140)
	return cases
}

// wire is a resolver and a dialler: every host has the same addresses, and what is
// dialled is noted and goes nowhere, or to one receiver.
type wire struct {
	answers []netip.Addr
	to      string // host:port; empty: nowhere

	mu      sync.Mutex
	lookups []string
	dials   []string
}

func newWire(answers ...string) *wire {
	w := &wire{}
	w.resolveTo(answers...)
	return w
}

func (w *wire) resolveTo(answers ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = nil
	for _, a := range answers {
		w.answers = append(w.answers, netip.MustParseAddr(a))
	}
}

func (w *wire) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups = append(w.lookups, host)
	if len(w.answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return w.answers, nil
}

var errNowhere = errors.New("nowhere")

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, address)
	w.mu.Unlock()
	if w.to == "" {
		return nil, errNowhere
	}
	return (&net.Dialer{}).DialContext(ctx, network, w.to)
}

// dialled returns what has been dialled so far.
func (w *wire) dialled() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.dials)
}

// client returns a Client on the wire.
func (w *wire) client(t testing.TB, o HTTPOptions) *Client {
	t.Helper()
	o.Egress.Resolver = w
	c, err := NewClient(&ClientOptions{HTTP: o})
	require.NoError(t, err)
	c.poster.policy.Dial = w.dial
	t.Cleanup(c.poster.close)
	return c
}

func ssrfTarget(t testing.TB, url string) Target {
	t.Helper()
	secret, err := signing.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	return Target{URL: url, Secrets: []signing.Secret{secret}}
}

// What the cases deny is never dialled, what they allow is.
func TestSSRFCasesThroughTheClient(t *testing.T) {
	allowed, denied := 0, 0
	for _, c := range loadSSRFCases(t) {
		if c.Stage == "redirect" {
			continue // TestRedirectsAreNotFollowed
		}
		t.Run(c.URL+" "+c.Why, func(t *testing.T) {
			for name, value := range c.Env {
				t.Setenv(name, value)
				t.Setenv(strings.ToLower(name), value)
			}
			w := newWire(c.ResolvesTo...)
			attempt, err := w.client(t, HTTPOptions{}).Attempt(t.Context(), ssrfTarget(t, c.URL), Event{Type: "a.b"})
			if c.Expect == "allow" {
				allowed++
				var failed *AttemptError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, ClassConnect, attempt.Class)
				require.NotEmpty(t, w.dialled())
				return
			}
			denied++
			require.Error(t, err)
			require.Empty(t, w.dialled())
			if !errors.Is(err, ErrInvalidURL) {
				require.Contains(t, []string{ClassBlocked, ClassDNS}, attempt.Class, attempt.Error)
			}
		})
	}
	require.Greater(t, allowed, 20)
	require.Greater(t, denied, 110)
}

// The same by registration, in both modes: an endpoint is refused with the reason,
// or its test event, and every other, fails without a dial.
func TestSSRFCasesThroughTheSender(t *testing.T) {
	for _, mode := range []store.Mode{store.Live, store.Test} {
		var refused, registered int
		for _, c := range loadSSRFCases(t) {
			if c.Stage == "redirect" || c.Expect == "allow" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				for name, value := range c.Env {
					t.Setenv(name, value)
				}
				w := newWire(c.ResolvesTo...)
				s, err := New(memory.New(), &Options{HTTP: HTTPOptions{Egress: Egress{Resolver: w}}})
				require.NoError(t, err)
				s.poster.policy.Dial = w.dial
				require.NoError(t, s.Start(t.Context()))
				defer func() { require.NoError(t, s.Stop(t.Context())) }()
				tenant := s.For("acme", mode)
				_, _, err = tenant.CreateEndpoint(t.Context(), EndpointSpec{URL: c.URL, EventTypes: []string{"*"}})
				if err != nil {
					refused++
					var problem *URLError
					require.ErrorAs(t, err, &problem, c.URL)
					require.NotEmpty(t, problem.Problem)
					return
				}
				registered++
				_, err = tenant.Send(t.Context(), Event{Type: "a.b"})
				require.NoError(t, err)
				time.Sleep(time.Second)
				synctest.Wait()
				list, err := tenant.Deliveries(t.Context(), store.DeliveryQuery{})
				require.NoError(t, err)
				require.Len(t, list, 2, c.URL)
				for _, d := range list {
					_, attempts, err := tenant.Delivery(t.Context(), d.ID)
					require.NoError(t, err)
					require.Len(t, attempts, 1, c.URL)
					require.Contains(t, []string{ClassBlocked, ClassDNS}, attempts[0].Class, c.URL)
				}
				require.Empty(t, w.dialled(), c.URL)
			})
		}
		t.Logf("%s: %d refused, %d registered", mode, refused, registered)
		require.Greater(t, refused, 80)
		require.Greater(t, registered, 10)
	}
}

// A redirect is a failure and where it leads is never dialled.
func TestRedirectsAreNotFollowed(t *testing.T) {
	ca := newAuthority(t)
	n := 0
	for _, c := range loadSSRFCases(t) {
		if c.Stage != "redirect" {
			continue
		}
		n++
		receiver := secureReceiver(t, ca.config(t, "customer.example"), sendertest.Answer{
			Status: c.Redirect.Status, Header: http.Header{"Location": {c.Redirect.Location}},
		})
		w := newWire(c.ResolvesTo...)
		w.to = receiver.addr
		attempt, err := w.client(t, HTTPOptions{TLS: ca.trusting()}).Attempt(t.Context(), ssrfTarget(t, c.URL), Event{Type: "a.b"})
		require.Error(t, err)
		require.Equal(t, ClassStatus, attempt.Class, attempt.Error)
		require.Equal(t, c.Redirect.Status, attempt.Status)
		require.Equal(t, []string{"93.184.216.34:443"}, w.dialled())
		require.EqualValues(t, 1, receiver.requests.Load())
	}
	require.Equal(t, 3, n)
}

// A host that resolves to a public address first and to a private one later is
// refused at the next connection. One kept from before still leads where it led, until
// HTTPOptions.MaxConnAge.
func TestDNSRebinding(t *testing.T) {
	receiver := sendertest.NewReceiver(t)
	for name, reuse := range map[string]bool{"kept connection": true, "new connection": false} {
		t.Run(name, func(t *testing.T) {
			w := newWire("93.184.216.34")
			w.to = strings.TrimPrefix(receiver.URL(), "http://")
			o := HTTPOptions{IdleTimeout: time.Hour}
			if !reuse {
				o.IdleTimeout = -1
			}
			c := w.client(t, o)
			target := ssrfTarget(t, "http://customer.example/hook")
			_, err := c.Attempt(t.Context(), target, Event{Type: "a.b"})
			require.NoError(t, err)
			w.resolveTo("169.254.169.254")
			attempt, err := c.Attempt(t.Context(), target, Event{Type: "a.b"})
			if reuse {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
				require.Equal(t, ClassBlocked, attempt.Class)
			}
			require.Equal(t, []string{"93.184.216.34:80"}, w.dialled())
			require.Len(t, w.lookups, len(w.dialled())+map[bool]int{true: 0, false: 1}[reuse], "one lookup for each connection")
		})
	}
}

// A connection that one Client may have is not there for another, whose Egress
// forbids it.
func TestConnectionsStayWithTheirPolicy(t *testing.T) {
	receiver := sendertest.NewReceiver(t)
	target := ssrfTarget(t, receiver.URL())
	open, err := NewClient(&ClientOptions{HTTP: HTTPOptions{IdleTimeout: time.Hour, Egress: Egress{Allow: sendertest.Loopback()}}})
	require.NoError(t, err)
	defer open.poster.close()
	strict, err := NewClient(nil)
	require.NoError(t, err)
	for range 2 {
		_, err = open.Attempt(t.Context(), target, Event{Type: "a.b"})
		require.NoError(t, err)
		attempt, err := strict.Attempt(t.Context(), target, Event{Type: "a.b"})
		require.Error(t, err)
		require.Equal(t, ClassBlocked, attempt.Class)
	}
	require.Equal(t, 2, receiver.Count())
}

// No prefix opens a metadata service, and what the operator did allow is reached.
func TestEgressAllow(t *testing.T) {
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for answer, class := range map[string]string{
		"10.1.2.3": ClassConnect, "127.0.0.1": ClassConnect, "fd00::1": ClassConnect,
		"169.254.169.254": ClassBlocked, "fd00:ec2::254": ClassBlocked, "::ffff:169.254.169.254": ClassBlocked, "168.63.129.16": ClassBlocked,
		"64:ff9b::a9fe:a9fe": ClassBlocked,
	} {
		w := newWire(answer)
		c := w.client(t, HTTPOptions{Egress: Egress{Allow: everything, NAT64: true}})
		attempt, err := c.Attempt(t.Context(), ssrfTarget(t, "http://customer.example/"), Event{Type: "a.b"})
		require.Error(t, err)
		require.Equal(t, class, attempt.Class, answer)
		require.Equal(t, class == ClassConnect, len(w.dialled()) == 1, answer)
	}
}

func TestEgressPortsAndOnly(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://staging.example/": true, "https://STAGING.example./": true,
		"https://staging.example:8443/": false, "https://customer.example/": false, "https://93.184.216.34/": false,
	} {
		w := newWire("93.184.216.34")
		c := w.client(t, HTTPOptions{Egress: Egress{Ports: []uint16{443}, Only: []string{"staging.example"}}})
		_, err := c.Attempt(t.Context(), ssrfTarget(t, url), Event{Type: "a.b"})
		require.Error(t, err)
		require.Equal(t, ok, len(w.dialled()) == 1, url)
	}
}

// FuzzEgress: whatever the URL and whatever its host resolves to, nothing
// forbidden is dialled, and nothing panics.
func FuzzEgress(f *testing.F) {
	for _, c := range loadSSRFCases(f) {
		var answers []byte
		for _, a := range c.ResolvesTo {
			b := netip.MustParseAddr(a).As16()
			answers = append(answers, b[:]...)
		}
		f.Add(c.URL, answers, false)
		f.Add(c.URL, answers, true)
	}
	f.Fuzz(func(t *testing.T, rawURL string, answers []byte, nat64 bool) {
		w := newWire()
		for len(answers) >= 4 {
			if a, ok := netip.AddrFromSlice(answers[:min(len(answers), 16)]); ok {
				w.answers = append(w.answers, a)
			}
			w.answers = append(w.answers, netip.AddrFrom4([4]byte(answers)))
			answers = answers[4:]
		}
		c := w.client(t, HTTPOptions{Egress: Egress{NAT64: nat64}})
		attempt, err := c.Attempt(t.Context(), ssrfTarget(t, rawURL), Event{Type: "a.b"})
		require.Error(t, err)
		if !errors.Is(err, ErrInvalidURL) && attempt.Class == ClassBlocked {
			require.Empty(t, w.dialled())
		}
		policy := &netguard.Policy{NAT64: nat64}
		for _, d := range w.dialled() {
			to, err := netip.ParseAddrPort(d)
			require.NoError(t, err)
			require.NoError(t, policy.Check(to.Addr()))
			require.NoError(t, policy.CheckPort(to.Addr(), to.Port()))
		}
	})
}
