package netguard

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// ssrfCase is an entry of testdata/ssrf_cases.json.
type ssrfCase struct {
	URL        string   `json:"url"`
	ResolvesTo []string `json:"resolves_to"`
	Expect     string   `json:"expect"`
	Why        string   `json:"why"`
	Stage      string   `json:"stage"` // "redirect": after a response

	// Env is set for the sender's process, and there tempts it to use a proxy.
	Env map[string]string `json:"env"`
}

func loadCases(tb testing.TB) []ssrfCase {
	tb.Helper()
	data, err := os.ReadFile("testdata/ssrf_cases.json")
	require.NoError(tb, err)
	var cases []ssrfCase
	require.NoError(tb, json.Unmarshal(data, &cases))
	return cases
}

// fakeNet resolves every host to the same addresses and records what is dialled.
type fakeNet struct {
	answers []netip.Addr
	err     error

	mu      sync.Mutex
	lookups []string
	dials   []string
}

var errFakeDial = errors.New("fake dial")

func (f *fakeNet) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups = append(f.lookups, host)
	return f.answers, f.err
}

func (f *fakeNet) dial(_ context.Context, _, address string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials = append(f.dials, address)
	return nil, errFakeDial
}

func (f *fakeNet) policy(p Policy) *Policy {
	p.Resolver, p.Dial = f, f.dial
	return &p
}

func fakeFor(answers ...string) *fakeNet {
	f := &fakeNet{}
	for _, a := range answers {
		f.answers = append(f.answers, netip.MustParseAddr(a))
	}
	return f
}

// get makes a request through the policy as a client would, and returns its error.
func get(t *testing.T, p *Policy, rawURL string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, rawURL, nil)
	if err != nil {
		return err
	}
	tr := &http.Transport{DialContext: p.DialContext}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if resp != nil {
		resp.Body.Close()
	}
	return err
}

// TestSSRFCases runs the cases twice: as a URL that somebody registers, and as
// one that reached the transport although nobody looked at it before. What a
// response or the environment does (redirects, proxies) is the client's matter.
func TestSSRFCases(t *testing.T) {
	var allowed, denied, client int
	for _, c := range loadCases(t) {
		if c.Stage == "redirect" || c.Env != nil {
			client++
			continue
		}
		t.Run(c.URL+" "+c.Why, func(t *testing.T) {
			f := fakeFor(c.ResolvesTo...)
			p := f.policy(Policy{})
			err := get(t, p, c.URL)
			for _, d := range f.dials {
				require.NoError(t, p.Check(netip.MustParseAddrPort(d).Addr()))
			}
			if c.Expect == "allow" {
				allowed++
				require.ErrorIs(t, err, errFakeDial)
				require.NoError(t, register(c.URL))
				return
			}
			denied++
			require.Error(t, err)
			// Userinfo does no harm on the wire; only registration refuses it.
			if register(c.URL) == nil {
				require.NotErrorIs(t, err, errFakeDial)
				require.Empty(t, f.dials)
			}
		})
	}
	t.Logf("%d allowed, %d denied, %d left to the client", allowed, denied, client)
	require.Greater(t, allowed, 20)
	require.Greater(t, denied, 100)
}

// register is what a sender asks of a URL before it stores it.
func register(rawURL string) error {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https", u.Opaque != "", u.User != nil, u.Host == "":
		return errors.New("not a plain http or https URL")
	}
	if err := CheckHost(u.Hostname()); err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return (&Policy{}).Check(addr)
	}
	return nil
}
