package sender

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/netguard"
	"github.com/hookpost/hookpost/store"
)

func TestEndpointURL(t *testing.T) {
	for raw, want := range map[string]endpointURL{
		"https://example.com/webhooks": {"https://example.com/webhooks", "https://example.com/webhooks"},
		"HTTPS://Example.COM":          {"https://example.com", "https://example.com/"},
		"https://example.com:443/":     {"https://example.com/", "https://example.com/"},
		"https://example.com:00443/":   {"https://example.com/", "https://example.com/"},
		"http://example.com:80/A?b=C":  {"http://example.com/A?b=C", "http://example.com/A?b=C"},
		"http://example.com:443/":      {"http://example.com:443/", "http://example.com:443/"},
		"https://example.com:8443/":    {"https://example.com:8443/", "https://example.com:8443/"},
		"https://example.com./x":       {"https://example.com./x", "https://example.com/x"},
		"https://example.com?":         {"https://example.com?", "https://example.com/?"},
		"https://bücher.example/":      {"https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"},
		"https://example.com/%2e%2E/a": {"https://example.com/%2e%2E/a", "https://example.com/%2e%2E/a"},
		"https://1.1.1.1/hook":         {"https://1.1.1.1/hook", "https://1.1.1.1/hook"},
		"https://[2606:4700::1111]/":   {"https://[2606:4700::1111]/", "https://[2606:4700::1111]/"},
		"https://[2606:4700::1]:443/":  {"https://[2606:4700::1]/", "https://[2606:4700::1]/"},
	} {
		for _, mode := range []store.Mode{store.Live, store.Test} {
			got, err := parseEndpointURL(raw, urlRules{mode: mode, policy: &netguard.Policy{}})
			require.NoError(t, err, raw)
			require.Equal(t, want, got, raw)
		}
	}
}

func TestEndpointURLRefused(t *testing.T) {
	for _, raw := range []string{
		"", "example.com", "/webhooks", "//example.com/x", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)",
		"https:example.com", "https://", "https:///path", "https://:443/", "https://user@example.com/", "https://u:p@example.com/",
		"https://example.com/#top", "https://example.com/#", "https://example.com/a b", "https://example.com/\n", " https://example.com/",
		"https://exa\x00mple.com/", "https://example.com/\x7f", "https://example.com/\xff", "https://example.com:0/", "https://example.com:65536/",
		"https://example.com:x/", "https://example.com:/", "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://[fe80::1%25lo]/",
		"https://-a.example/", "https://a..example/", "https://%31%32%37.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://exa%mple.com/", "https://a\\b/",
		"https://example.com/" + strings.Repeat("a", maxURL), "https://example.com/" + strings.Repeat("é", 900),
	} {
		for _, mode := range []store.Mode{store.Live, store.Test} {
			_, err := parseEndpointURL(raw, urlRules{mode: mode, policy: &netguard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
			require.ErrorIs(t, err, ErrInvalidURL, "%q", raw)
			var urlErr *URLError
			require.ErrorAs(t, err, &urlErr)
			require.NotEmpty(t, urlErr.Problem)
		}
	}
}

func TestEndpointURLByMode(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	private := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	for _, tc := range []struct {
		raw        string
		allow      []netip.Prefix
		live, test bool
	}{
		{"http://localhost:3000/hook", nil, false, true},
		{"http://api.localhost/", nil, false, true},
		{"http://127.0.0.1:22/", nil, false, true},
		{"http://[::1]/", nil, false, true},
		{"http://localhost:3000/hook", loopback, true, true},
		{"http://127.0.0.1:3000/hook", loopback, true, true},
		{"http://10.0.0.1/", nil, false, false},
		{"http://10.0.0.1/", private, true, true},
		{"http://169.254.169.254/", all, false, false},
		{"http://[fe80::1]/", nil, false, false},
		{"http://1.1.1.1:25/", nil, false, false},
		{"http://internal.example/", nil, true, true},
		{"http://customer.example:22/", nil, false, false},
		{"http://customer.example:5432/", nil, false, false},
		{"http://customer.example:10080/", nil, false, false},
		{"http://customer.example.:6379/", nil, false, false},
		{"http://bücher.example:25/", nil, false, false},
		{"https://customer.example:80/", nil, true, true},
		{"http://customer.example:443/", nil, true, true},
		{"http://customer.example:3000/", nil, true, true},
		{"http://customer.example:65535/", nil, true, true},
		{"http://customer.example:5432/", private, true, true}, // may lead there
		{"http://customer.example:22/", private, true, true},
		{"http://1.1.1.1:5432/", private, false, false},
		{"http://10.0.0.1:5432/", private, true, true},
		{"http://localhost:5432/", nil, false, true},
		{"http://db.localhost:22/", nil, false, true},
		{"http://127.0.0.1:6000/", nil, false, true},
		{"http://[::1]:10080/", nil, false, true},
		{"http://localhost:5432/", loopback, true, true},
	} {
		for mode, want := range map[store.Mode]bool{store.Live: tc.live, store.Test: tc.test} {
			_, err := parseEndpointURL(tc.raw, urlRules{mode: mode, policy: &netguard.Policy{Allow: tc.allow}})
			if want {
				require.NoError(t, err, "%s %s", tc.raw, mode)
			} else {
				require.ErrorIs(t, err, ErrInvalidURL, "%s %s", tc.raw, mode)
			}
			if tc.test && !want {
				require.ErrorContains(t, err, "can't be called: localhost is this server; use a tunnel", tc.raw)
			}
		}
	}
	for _, raw := range []string{"http://10.0.0.1/", "http://customer.example:22/"} {
		_, err := parseEndpointURL(raw, urlRules{})
		require.NoError(t, err, "without a mode the dialler decides")
	}
	only := &netguard.Policy{Ports: []uint16{443, 2525}}
	for raw, want := range map[string]bool{
		"https://customer.example/": true, "https://customer.example:2525/": true, "http://customer.example/": false, "https://customer.example:8443/": false,
	} {
		_, err := parseEndpointURL(raw, urlRules{mode: store.Live, policy: only})
		require.Equal(t, want, err == nil, raw)
	}
	_, err := parseEndpointURL("https://customer.example:5432/hook?token=1", urlRules{mode: store.Live, policy: &netguard.Policy{}})
	require.EqualError(t, err, `sender: endpoint URL "https://customer.example:5432/hook" can't be called: port 5432 is usually PostgreSQL`)
}

func TestRequireHTTPS(t *testing.T) {
	_, err := parseEndpointURL("http://example.com/", urlRules{requireHTTPS: true})
	require.ErrorIs(t, err, ErrInvalidURL)
	_, err = parseEndpointURL("https://example.com/", urlRules{requireHTTPS: true})
	require.NoError(t, err)
}

func TestURLErrorsHideSecrets(t *testing.T) {
	for _, raw := range []string{
		"https://user:s3cret@example.com/", "https://user:s3/cr3t@example.com/s3cret@x", "ftp://example.com/?token=s3cret",
		"https://exa mple.com/?token=s3cret", "https://example.com:99999/?s3cret#s3cret", "https://example.com/#s3cret", "s3cret@host",
		"http://%zz/?s3cret", "//u:s3cret@h/", "https://user:s3cr?t@example.com/", "https://user:s3cr#t@example.com/x",
		"https://user:s3/s3?t@example.com/", "https://user:1s3", "https://user:s3:s3", "user:s3cr?t@example.com", "https://[::1]:s3/",
	} {
		_, err := parseEndpointURL(raw, urlRules{})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "s3", raw)
	}
	for raw, shown := range map[string]string{
		"https://example.com:8443/x y?z":   "https://example.com:8443/x y",
		"https://[2001:db8::1]:70000/":     "https://[2001:db8::1]:70000/",
		"https://[fe80::1%25lo]/a":         "https://[fe80::1%25lo]/a",
		"https://example.com/a:b#":         "https://example.com/a:b",
		"https://example.com:8o80/webhook": "https://example.com:***",
	} {
		_, err := parseEndpointURL(raw, urlRules{mode: store.Live, policy: &netguard.Policy{}})
		var urlErr *URLError
		require.ErrorAs(t, err, &urlErr, raw)
		require.Equal(t, shown, urlErr.URL)
	}
}

func FuzzEndpointURL(f *testing.F) {
	for _, s := range []string{
		"https://example.com/webhooks", "http://[::1]:80/?", "https://bücher.example", "http://127。0。0。1/", "https://a:b@c/#d", "http://[fe80::1%25lo]/", "http://example.com./%2f?x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		rules := urlRules{mode: store.Live, policy: &netguard.Policy{}}
		got, err := parseEndpointURL(raw, rules)
		if err != nil {
			if !errors.Is(err, ErrInvalidURL) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if u, err := url.Parse(got.text); err != nil || u.Host == "" || u.User != nil {
			t.Fatalf("%q became %q", raw, got.text)
		}
		again, err := parseEndpointURL(got.text, rules)
		if err != nil || again != got {
			t.Fatalf("%q became %+v, and that %+v, %v", raw, got, again, err)
		}
		if byKey, err := parseEndpointURL(got.key, rules); err != nil || byKey.key != got.key {
			t.Fatalf("%q has the key %q, which has %+v, %v", raw, got.key, byKey, err)
		}
		// What goes over the wire is what the key ends with, all of it may stand there,
		// and nothing but escapes was added to what was given.
		d, err := newDestination(got.text, nil)
		if err != nil {
			t.Fatalf("%q became %q: %v", raw, got.text, err)
		}
		line := d.request.URL.RequestURI()
		scheme, rest, _ := strings.Cut(got.key, "://")
		host, target, _ := strings.Cut(rest, "/")
		if line != "/"+target || escapeTarget(line) != line || hasStrayPercent(line) {
			t.Fatalf("%q has the key %q and is sent as %q", raw, got.key, line)
		}
		if d.request.URL.Scheme != scheme || strings.TrimSuffix(d.request.URL.Hostname(), ".") != strings.Trim(strings.TrimSuffix(host, ":"+d.request.URL.Port()), "[]") {
			t.Fatalf("%q has the key %q and goes to %q", raw, got.key, d.request.URL.Host)
		}
		given, _ := url.PathUnescape(raw)
		if sent, err := url.PathUnescape(target); err != nil || !strings.HasSuffix(given, sent) {
			t.Fatalf("%q is sent as %q", raw, line)
		}
	})
}
