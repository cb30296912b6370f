package netguard

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range list {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		addr, reason string
		policy       Policy
	}{
		{addr: "93.184.216.34"},
		{addr: "2606:4700::1111"},
		{addr: "::ffff:93.184.216.34"},
		{addr: "127.0.0.1", reason: loopbackReason},
		{addr: "::1", reason: loopbackReason},
		{addr: "::ffff:127.0.0.1", reason: loopbackReason},
		{addr: "0.0.0.0", reason: thisReason},
		{addr: "::", reason: thisReason},
		{addr: "255.255.255.255", reason: reservedReason},
		{addr: "5f00::1", reason: publicReason},
		{addr: "2606:4700::1111%eth0", reason: "an address with a zone"},
		{addr: "168.63.129.16", reason: metadataReason},
		{addr: "64:ff9b::808:808", reason: embeddedReason},
		{addr: "64:ff9b::808:808", policy: Policy{NAT64: true}},
		{addr: "64:ff9b::a00:1", policy: Policy{NAT64: true}, reason: privateReason},
		{addr: "127.0.0.1", policy: Policy{Allow: prefixes("127.0.0.0/8")}},
		{addr: "::ffff:127.0.0.1", policy: Policy{Allow: prefixes("127.0.0.0/8")}},
		{addr: "10.1.2.3", policy: Policy{Allow: prefixes("::ffff:10.0.0.0/104")}},
		{addr: "::1", policy: Policy{Allow: prefixes("127.0.0.0/8")}, reason: loopbackReason},
		{addr: "fd00::1", policy: Policy{Allow: prefixes("fd00::/8")}},
		{addr: "fe80::1%lo", policy: Policy{Allow: prefixes("::/0")}, reason: "an address with a zone"},
		{addr: "64:ff9b::a00:1", policy: Policy{Allow: prefixes("10.0.0.0/8")}, reason: embeddedReason},
	} {
		err := tc.policy.Check(netip.MustParseAddr(tc.addr))
		if tc.reason == "" {
			require.NoError(t, err, tc.addr)
			continue
		}
		var blocked *BlockedError
		require.ErrorAs(t, err, &blocked, tc.addr)
		require.ErrorIs(t, err, ErrBlocked)
		require.Equal(t, tc.reason, blocked.Reason, tc.addr)
	}
	require.ErrorIs(t, (*Policy)(nil).Check(netip.Addr{}), ErrBlocked)
}

func TestCheckPort(t *testing.T) {
	public, local := netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("::ffff:127.0.0.1")
	dev := Policy{Allow: prefixes("127.0.0.0/8")}
	for _, tc := range []struct {
		policy Policy
		addr   netip.Addr
		port   uint16
		ok     bool
	}{
		{Policy{}, public, 443, true},
		{Policy{}, public, 80, true},
		{Policy{}, public, 8080, true},
		{Policy{}, public, 8443, true},
		{Policy{}, public, 3000, true},
		{Policy{}, public, 65535, true},
		{Policy{}, public, 1024, true},
		{Policy{}, public, 1023, false},
		{Policy{}, public, 0, false},
		{Policy{}, public, 22, false},
		{Policy{}, public, 6379, false},
		{Policy{}, netip.Addr{}, 443, true},
		{dev, public, 6379, false},
		{dev, local, 6379, true},
		{dev, local, 22, false},
		{dev, local, 443, true},
		{Policy{Ports: []uint16{443, 25}}, public, 25, true},
		{Policy{Ports: []uint16{443}}, public, 80, false},
		{Policy{Ports: []uint16{443}, Allow: dev.Allow}, local, 3000, false},
	} {
		err := tc.policy.CheckPort(tc.addr, tc.port)
		require.Equal(t, tc.ok, err == nil, "%s port %d: %v", tc.addr, tc.port, err)
		require.True(t, tc.ok || errors.Is(err, ErrBlocked))
	}
	require.ErrorIs(t, (*Policy)(nil).CheckPort(public, 22), ErrBlocked)
}

// What a proxy looks up is judged as far as it can be without a lookup.
func TestCheckTarget(t *testing.T) {
	for _, tc := range []struct {
		policy Policy
		host   string
		port   uint16
		ok     bool
	}{
		{Policy{}, "customer.example", 443, true},
		{Policy{}, "bücher.example", 80, true},
		{Policy{}, "93.184.216.34", 80, true},
		{Policy{}, "2606:4700::1111", 443, true},
		{Policy{}, "customer.example", 22, false},
		{Policy{}, "customer.example", 6379, false},
		{Policy{}, "customer..example", 443, false},
		{Policy{}, "2130706433", 80, false},
		{Policy{}, "①②⑦.⓪.⓪.①", 80, false},
		{Policy{}, "169.254.169.254", 80, false},
		{Policy{}, "10.0.0.1", 80, false},
		{Policy{}, "fe80::1%lo", 80, false},
		{Policy{}, "localhost", 80, false},
		{Policy{}, "api.localhost", 80, false},
		{Policy{Allow: prefixes("127.0.0.0/8")}, "localhost", 80, true},
		{Policy{Allow: prefixes("10.0.0.0/8")}, "10.0.0.1", 80, true},
		{Policy{Allow: prefixes("0.0.0.0/0")}, "169.254.169.254", 80, false},
		{Policy{Only: []string{"customer.example"}}, "Customer.example.", 443, true},
		{Policy{Only: []string{"customer.example"}}, "other.example", 443, false},
	} {
		err := tc.policy.CheckTarget(tc.host, tc.port)
		require.Equal(t, tc.ok, err == nil, "%s port %d: %v", tc.host, tc.port, err)
		require.True(t, tc.ok || errors.Is(err, ErrBlocked))
	}
	require.NoError(t, (*Policy)(nil).CheckTarget("customer.example", 443))
}

func TestBlockedErrorMessages(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	for want, err := range map[string]error{
		`egress: blocked: host "a.example" (10.0.0.1): a private network`: &BlockedError{Host: "a.example", Addr: addr, Reason: privateReason},
		`egress: blocked: address 10.0.0.1: a private network`:            &BlockedError{Host: "10.0.0.1", Addr: addr, Reason: privateReason},
		`egress: blocked: host "a\nb": not a host name`:                   &BlockedError{Host: "a\nb", Reason: "not a host name"},
	} {
		require.EqualError(t, err, want)
	}
	require.Less(t, len((&BlockedError{Host: string(make([]byte, 1<<20))}).Error()), 2000)
}
