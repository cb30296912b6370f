package sender

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/netguard"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// targets are paths and queries as somebody may give them, and the only bytes that may
// go over the wire for them.
var targets = map[string]string{
	"":   "/",
	"/":  "/",
	"?":  "/?",
	"/?": "/?",
	"?x": "/?x",

	// Escapes stay as they are, whatever stands beside them.
	"/für%2Fprod":                       "/f%C3%BCr%2Fprod",
	"/ü/%2F%2B%3B%3D%26%40%3A%2C%24%21": "/%C3%BC/%2F%2B%3B%3D%26%40%3A%2C%24%21",
	"/%2F%2B%3B%3D%26%40":               "/%2F%2B%3B%3D%26%40",
	"/a|b%2Fc":                          "/a%7Cb%2Fc",
	"/%c3%bc/%C3%BC/%c3%Bc/ü":           "/%c3%bc/%C3%BC/%c3%Bc/%C3%BC",
	"/%7Euser/~user/%61":                "/%7Euser/~user/%61",
	"/%20/%25/%25zz/%00/%FF%fe":         "/%20/%25/%25zz/%00/%FF%fe",
	"/%3Fa%23b?%3F%23":                  "/%3Fa%23b?%3F%23",
	"/{tenant}%2F{id}":                  "/%7Btenant%7D%2F%7Bid%7D",

	// What may stand in a path or a query stays.
	"/-._~!$&'()*+,;=:@/-._~?-._~!$&'()*+,;=:@/?": "/-._~!$&'()*+,;=:@/-._~?-._~!$&'()*+,;=:@/?",
	"/a+b%2Bc;v=1,2?a+b=c%2Bd;e":                  "/a+b%2Bc;v=1,2?a+b=c%2Bd;e",
	"//":                                          "//",
	"//a//b//":                                    "//a//b//",
	"/./a/../b/%2e%2E/..;/.":                      "/./a/../b/%2e%2E/..;/.",
	"/..":                                         "/..",
	"/http://other.example/@x:80":                 "/http://other.example/@x:80",
	"?to=https://a.example/?b=c":                  "/?to=https://a.example/?b=c",
	"/a?b?c??":                                    "/a?b?c??",

	// What may not is escaped, and nothing else.
	"/\"<>\\^`{|}[]":                   "/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D",
	"/?\"<>\\^`{|}[]":                  "/?%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D",
	"?name=Zoë":                        "/?name=Zo%C3%AB",
	"?name=Zo%C3%AB&x=ë%2B":            "/?name=Zo%C3%AB&x=%C3%AB%2B",
	"?ids[]=1&f[a%5D]=2":               "/?ids%5B%5D=1&f%5Ba%5D%5D=2",
	"/世界?q=世界":                         "/%E4%B8%96%E7%95%8C?q=%E4%B8%96%E7%95%8C",
	"/e\u0301/\u202e/\u00a0\U0001F600": "/e%CC%81/%E2%80%AE/%C2%A0%F0%9F%98%80",
	"\\a?\\b":                          "",
}

// lineReceiver answers every request with 200 and hands over its first line.
func lineReceiver(t *testing.T) (addr string, lines chan string) {
	t.Helper()
	lines = make(chan string, 1)
	addr, _ = rawReceiver(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\n"), r)))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		lines <- strings.TrimSuffix(line, "\r\n")
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	return addr, lines
}

func TestURLBytesOnTheWire(t *testing.T) {
	addr, lines := lineReceiver(t)
	c, err := NewClient(&ClientOptions{HTTP: HTTPOptions{Egress: Egress{Allow: sendertest.Loopback()}}})
	require.NoError(t, err)
	t.Cleanup(c.poster.close)
	proxy := &url.URL{Scheme: "http", Host: addr}
	proxied, err := NewClient(&ClientOptions{HTTP: HTTPOptions{Egress: Egress{Allow: sendertest.Loopback(), Proxy: proxy}}})
	require.NoError(t, err)
	t.Cleanup(proxied.poster.close)
	for given, want := range targets {
		if want == "" {
			continue
		}
		attempt, err := c.Attempt(t.Context(), ssrfTarget(t, "http://"+addr+given), Event{Type: "a.b"})
		require.NoError(t, err, given)
		require.Equal(t, "POST "+want+" HTTP/1.1", <-lines, given)
		require.Equal(t, want, "/"+strings.TrimPrefix(strings.TrimPrefix(attempt.URL, "http://"+addr), "/"), "the log shows what was sent")

		_, err = proxied.Attempt(t.Context(), ssrfTarget(t, "http://customer.example"+given), Event{Type: "a.b"})
		require.NoError(t, err, given)
		require.Equal(t, "POST http://customer.example"+want+" HTTP/1.1", <-lines, given)
	}
}

func TestURLBytesAreStored(t *testing.T) {
	rules := urlRules{mode: store.Live, policy: &netguard.Policy{}}
	for given, want := range targets {
		for raw, host := range map[string]string{
			"https://example.com": "https://example.com", "HTTPS://Example.COM:443": "https://example.com",
			"https://bücher.example": "https://xn--bcher-kva.example", "https://[2606:4700::1]:8443": "https://[2606:4700::1]:8443",
		} {
			got, err := parseEndpointURL(raw+given, rules)
			if want == "" {
				require.ErrorIs(t, err, ErrInvalidURL, given)
				continue
			}
			require.NoError(t, err, given)
			require.Equal(t, host+want, got.key, given)
			if !strings.HasPrefix(given, "/") {
				want = want[1:]
			}
			require.Equal(t, host+want, got.text, given)
			want = targets[given]
		}
	}
}

// One endpoint per URL: two URLs are the same if they lead to the same bytes at the
// same host, and to nothing less.
func TestURLKeys(t *testing.T) {
	same := [][]string{
		{"https://h.example", "https://h.example/", "HTTPS://H.Example:443/", "https://h.example./", "https://h.example:0443"},
		{"https://h.example?a", "https://h.example/?a", "https://H.EXAMPLE.:443/?a"},
		{"https://h.example/für%2Fprod", "https://h.example/f%C3%BCr%2Fprod"},
		{"https://h.example/für/prod", "https://h.example/f%C3%BCr/prod"},
		{"https://h.example/f%c3%bcr/prod"},
		{"https://h.example/?", "https://h.example?"},
		{"https://h.example/a%2fb"},
		{"https://h.example/a%2Fb"},
		{"https://h.example/a/b"},
		{"https://h.example/a/b/"},
		{"https://h.example/a//b"},
		{"https://h.example/a/b?"},
		{"https://h.example/a/./b"},
		{"https://h.example/a/c/../b"},
		{"https://h.example/A/b"},
		{"https://h.example/a/b;"},
		{"https://h.example/a+b"},
		{"https://h.example/a%20b"},
		{"https://h.example/a%2Bb"},
		{"https://h.example/~u"},
		{"https://h.example/%7Eu"},
		{"https://h.example/%7eu"},
		{"https://h.example/?q=ë", "https://h.example/?q=%C3%AB"},
		{"https://h.example/?q=%c3%ab"},
		{"https://h.example/?b&a"},
		{"https://h.example/?a&b"},
		{"https://h.example/\u00fc", "https://h.example/%C3%BC"},
		{"https://h.example/u\u0308"},
		{"http://h.example", "http://h.example:80/"},
		{"http://h.example:443/"},
		{"https://h.example:8443/"},
		{"https://bücher.example/", "https://xn--bcher-kva.example", "https://BÜCHER.example:443/"},
	}
	keys := map[string]int{}
	for i, group := range same {
		for _, raw := range group {
			u, err := parseEndpointURL(raw, urlRules{})
			require.NoError(t, err, raw)
			if of, found := keys[u.key]; found {
				require.Equal(t, i, of, "%s counts as %s", raw, same[of][0])
			}
			keys[u.key] = i
		}
	}
	require.Len(t, keys, len(same))
}

func TestURLsThatCannotBeSent(t *testing.T) {
	for given, problem := range map[string]string{
		"/%":                           `holds a % that begins no escape; write %25 for the sign itself`,
		"/%zz":                         `holds a % that begins no escape; write %25 for the sign itself`,
		"/%2":                          `holds a % that begins no escape; write %25 for the sign itself`,
		"/a%2/b":                       `holds a % that begins no escape; write %25 for the sign itself`,
		"/%%20":                        `holds a % that begins no escape; write %25 for the sign itself`,
		"/%u00e9":                      `holds a % that begins no escape; write %25 for the sign itself`,
		"/%é":                          `holds a % that begins no escape; write %25 for the sign itself`,
		"?%":                           `holds a % that begins no escape; write %25 for the sign itself`,
		"?a=%zz":                       `holds a % that begins no escape; write %25 for the sign itself`,
		"/x?a=100%&b":                  `holds a % that begins no escape; write %25 for the sign itself`,
		"%zz":                          `holds a % that begins no escape; write %25 for the sign itself`,
		"/a b":                         `contains a space or a control character; escape it as %20 and the like`,
		"?a b":                         `contains a space or a control character; escape it as %20 and the like`,
		"/\t":                          `contains a space or a control character; escape it as %20 and the like`,
		"/?\x7f":                       `contains a space or a control character; escape it as %20 and the like`,
		"/\r\nX: y":                    `contains a space or a control character; escape it as %20 and the like`,
		"/#":                           `has a fragment (#…), which is never sent; remove it`,
		"/a#b%zz":                      `has a fragment (#…), which is never sent; remove it`,
		"?a#b":                         `has a fragment (#…), which is never sent; remove it`,
		"/\xc3(":                       `is not valid UTF-8`,
		"?\xff":                        `is not valid UTF-8`,
		"/\xed\xa0\x80":                `is not valid UTF-8`,
		"/" + strings.Repeat("{", 683): `has 2069 bytes once it is escaped; at most 2048 are accepted`,
		"?" + strings.Repeat("ë", 340): `has 2061 bytes once it is escaped; at most 2048 are accepted`,
	} {
		for _, rules := range []urlRules{{}, {mode: store.Live, policy: &netguard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}} {
			_, err := parseEndpointURL("https://example.com"+given, rules)
			var urlErr *URLError
			require.ErrorAs(t, err, &urlErr, given)
			require.Equal(t, problem, urlErr.Problem, given)
		}
	}
	for _, raw := range []string{"https://example.com/" + strings.Repeat("{", 676), "https://example.com?" + strings.Repeat("ë", 337)} {
		u, err := parseEndpointURL(raw, urlRules{})
		require.NoError(t, err)
		require.LessOrEqual(t, len(u.text), maxURL)
	}
}

func BenchmarkEndpointURL(b *testing.B) {
	for _, raw := range []string{"https://example.com/webhooks/acct_1234?v=2", "https://example.com/für%2Fprod?name=Zoë"} {
		b.Run(fmt.Sprint(len(raw)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parseEndpointURL(raw, urlRules{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
