package netguard

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, host := range []string{
		"example.com", "Example.COM", "example.com.", "localhost", "a", "foo_bar.example.com", "_x.example.com",
		"1.example", "0x.example.com", "xn--bcher-kva.example", "bücher.example", "BÜCHER.example", "🔐.example.com",
		"1.1.1.1", "127.0.0.1", "::1", "2001:db8::1", "2001:DB8::1", long + "." + long + "." + long + "." + long[:61],
	} {
		require.NoError(t, CheckHost(host), host)
	}
	for _, host := range []string{
		"", ".", "..", "a..b", ".a", "a..", "-a.example", "a-.example", long + "a.example", long + "." + long + "." + long + "." + long[:62],
		"a b", "a/b", "a\\b", "a@b", "a#b", "a?b", "a:80", "[::1]", "a\x00b", "a\nb", "a%20b", "%31.0.0.1",
		"1", "1.", "0", "01.1.1.1", "1.1.1.1.", "1.1.1", "1.1.1.256", "1.2.3.4.5", "a.1", "a.0x1", "a.0x", "a.0X7f", "0x7f000001", "2130706433",
		"::ffff:1.1.1.1", "2001:db8:0:0::1", "2001:0db8::1", "fe80::1%eth0", "::1%", "127.0.0.1%lo", "::g", ":",
		"x.onion", "x.ONION.", "x.invalid", "①②⑦.⓪.⓪.⑨⑨⑨", "127。0。0。256", "ü\xff.example", "a／b.example", "℀.example", "ü:80",
		strings.Repeat("ü", 10000),
	} {
		require.ErrorIs(t, CheckHost(host), ErrBlocked, "%q", host)
	}
}

func TestASCIIHost(t *testing.T) {
	for host, want := range map[string]string{
		"example.com":     "example.com",
		"EXAMPLE.com":     "EXAMPLE.com",
		"bücher.example":  "xn--bcher-kva.example",
		"①②⑦.⓪.⓪.①":       "127.0.0.1",
		"127。0。0。1":       "127.0.0.1",
		"ⓛocalhost":       "localhost",
		"１６９.254.１６９.254": "169.254.169.254",
	} {
		got, err := ASCIIHost(host)
		require.NoError(t, err, host)
		require.Equal(t, want, got)
	}
	for _, host := range []string{"\xff", "ü/x", "ü@x", "ü%31", "ü x", "\u200d.example", strings.Repeat("ü", 2000)} {
		_, err := ASCIIHost(host)
		require.ErrorIs(t, err, ErrBlocked, "%q", host)
	}
}

func TestIsLoopbackHost(t *testing.T) {
	for _, host := range []string{"localhost", "LocalHost", "localhost.", "app.localhost", "app.localhost.", "localhost.localdomain", "ip6-localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "ⓛocalhost", "①②⑦.⓪.⓪.①"} {
		require.True(t, IsLoopbackHost(host), host)
	}
	for _, host := range []string{"", "example.com", "localhost.example.com", "notlocalhost", "10.0.0.1", "0.0.0.0", "::", "\xff"} {
		require.False(t, IsLoopbackHost(host), host)
	}
}
