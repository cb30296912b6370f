package netguard

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// everything is the policy of an operator who allows all that can be allowed.
var everything = &Policy{Allow: prefixes("0.0.0.0/0", "::/0", "169.254.169.254/32", "fd00:ec2::254/128"), NAT64: true}

// rfc6052 puts inner behind a prefix of so many bits, as section 2.2 describes it:
// bit by bit, with the bits from 64 to 71 left out.
func rfc6052(prefix netip.Addr, bits int, inner netip.Addr) netip.Addr {
	b, v4 := prefix.As16(), binary.BigEndian.Uint32(inner.AsSlice())
	for i, at := 31, bits; i >= 0; i, at = i-1, at+1 {
		if at == 64 {
			at = 72
		}
		mask := byte(0x80) >> (at % 8)
		b[at/8] &^= mask
		if v4>>i&1 == 1 {
			b[at/8] |= mask
		}
	}
	return netip.AddrFrom16(b)
}

func invert(addr netip.Addr) netip.Addr {
	b := addr.As4()
	for i := range b {
		b[i] = ^b[i]
	}
	return netip.AddrFrom4(b)
}

// embeddings returns the forms of IPv6 that lead to an IPv4 address.
func embeddings(inner netip.Addr) map[string]netip.Addr {
	forms := map[string]netip.Addr{}
	in := func(name, prefix string, bits int, inner netip.Addr) {
		forms[name] = rfc6052(netip.MustParseAddr(prefix), bits, inner)
	}
	in("mapped", "::ffff:0:0", 96, inner)
	in("compatible", "::", 96, inner)
	in("translated", "::ffff:0:0:0", 96, inner)
	in("NAT64", "64:ff9b::", 96, inner)
	in("6to4", "2002::1", 16, inner)
	in("Teredo client", "2001:0:4136:e378:8000:63bf::", 96, invert(inner))
	in("Teredo server", "2001:0:0:0:8000:63bf:3fff:fdd2", 32, inner)
	for _, bits := range []int{48, 56, 64, 96} {
		in(fmt.Sprintf("local NAT64 /%d", bits), "64:ff9b:1::", bits, inner)
		in(fmt.Sprintf("local NAT64 /%d with a suffix", bits), "64:ff9b:1:0:aa00::77", bits, inner)
	}
	for _, bits := range []int{32, 40, 48, 56, 64, 96} {
		in(fmt.Sprintf("a network's own NAT64 /%d", bits), "2a00:1234::", bits, inner)
		in(fmt.Sprintf("a network's own NAT64 /%d, private", bits), "fd12:3456:789a::", bits, inner)
	}
	for _, prefix := range []string{"::", "fe80::", "fd00:1::", "2606:4700::", "2a00:1234:5678:9abc::", "2002:c058:6301::"} {
		global := netip.MustParseAddr(prefix).As16()
		copy(global[8:], []byte{0, 0, 0x5e, 0xfe})
		in("ISATAP under "+prefix, netip.AddrFrom16(global).String(), 96, inner)
		global[8] = 2
		in("ISATAP under "+prefix+", global", netip.AddrFrom16(global).String(), 96, inner)
	}
	return forms
}

// No prefix opens a metadata service, in none of the forms that lead to it.
func TestMetadataIsNeverAllowed(t *testing.T) {
	for addr := range metadata {
		require.ErrorIs(t, everything.Check(addr), ErrBlocked, addr)
		if !addr.Is4() {
			continue
		}
		for name, form := range embeddings(addr) {
			var blocked *BlockedError
			require.ErrorAs(t, everything.Check(form), &blocked, "%s: %s", name, form)
			require.Equal(t, metadataReason, blocked.Reason, "%s: %s", name, form)
		}
	}
	for _, s := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.169.252", "169.254.0.23", "169.254.42.42", "100.100.100.200",
		"168.63.129.16", "192.0.0.192", "100.96.0.96", "100.80.80.80", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42",
		"fd00:a9fe:a9fe::1", "fe80::a9fe:a9fe", "fd00:c1::a9fe:a9fe", "fd00:100::100:200", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::",
		"64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "2600::200:5efe:a9fe:a9fe", "2001::5601:5601",
	} {
		require.ErrorIs(t, everything.Check(netip.MustParseAddr(s)), ErrBlocked, s)
	}
	require.NoError(t, everything.Check(netip.MustParseAddr("169.254.1.1")))
	require.NoError(t, everything.Check(netip.MustParseAddr("fd00:a9fe:a9fe::2")))
}

// A form that leads to an address that isn't public is refused, under a public
// prefix too.
func TestEmbeddedPrivateAddresses(t *testing.T) {
	for _, inner := range []string{"10.0.0.5", "127.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.1.1", "0.0.0.0", "100.64.0.1"} {
		for name, form := range embeddings(netip.MustParseAddr(inner)) {
			if strings.HasPrefix(name, "a network's own") {
				continue // only that network can tell them from other addresses
			}
			require.ErrorIs(t, (&Policy{}).Check(form), ErrBlocked, "%s: %s", name, form)
		}
	}
	for s, reason := range map[string]string{
		"2606:4700::5efe:a00:5":           embeddedReason,
		"2606:4700::200:5efe:a00:5":       embeddedReason,
		"2606:4700:1:2:200:5efe:7f00:1":   embeddedReason,
		"2606:4700::5efe:808:808":         "", // leads to a public address
		"2606:4700::200:5efe:5db8:d822":   "",
		"2606:4700::100:5efe:a00:5":       "", // not ISATAP
		"2606:4700::5eff:a00:5":           "",
		"2606:4700:0:0:2:5efe:a00:5":      "",
		"2606:4700::a00:5":                "", // 10.0.0.5 behind any prefix means nothing
		"2a00:1234:a00:5::1":              "",
		"2a01:4f8:c0a8:101::1":            "",
		"2a00:1450:4001:82b::200e":        "",
		"2600:9000:2251:7f00:1:0:93a1:21": "",
	} {
		reasonOf := (&Policy{}).forbids(netip.MustParseAddr(s))
		require.Equal(t, reason, reasonOf, s)
	}
	// The operator's own prefixes cover what ISATAP leads to, or the form itself.
	form := netip.MustParseAddr("2606:4700::5efe:a00:5")
	require.NoError(t, (&Policy{Allow: prefixes("10.0.0.0/8")}).Check(form))
	require.NoError(t, (&Policy{Allow: prefixes("2606:4700::/32")}).Check(form))
}

// Ordinary public addresses are not refused for what their bits might mean.
func TestPublicIPv6IsNotRefusedByAccident(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := 0
	for range 30_000 {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], r.Uint64())
		binary.BigEndian.PutUint64(b[8:], r.Uint64())
		b[0] = 0x24 + b[0]%8 // what the registries give out, and reserved space
		addr := netip.AddrFrom16(b)
		for _, bits := range []int{128, 64, 48} { // hosts, and the first of networks
			b := netip.PrefixFrom(addr, bits).Masked().Addr().As16()
			b[15] |= 1
			require.NoError(t, (&Policy{}).Check(netip.AddrFrom16(b)))
			n++
		}
	}
	t.Log(n, "addresses")
}

// FuzzEmbedded: whatever stands around it, an IPv4 address of a metadata service is
// found in every layout, and any other IPv6 address is judged by its prefix alone.
func FuzzEmbedded(f *testing.F) {
	var services []netip.Addr
	for addr := range metadata {
		if addr.Is4() {
			services = append(services, addr)
		}
		b := addr.As16()
		f.Add(b[:], uint8(0))
	}
	f.Add([]byte{0x26, 0x06, 0x47, 0x00, 0, 0, 0, 0, 0, 0, 0x5e, 0xfe, 10, 0, 0, 5}, uint8(1))
	f.Fuzz(func(t *testing.T, around []byte, which uint8) {
		if len(around) != 16 {
			return
		}
		addr := netip.AddrFrom16([16]byte(around))
		for _, bits := range []int{32, 40, 48, 56, 64, 96} {
			for _, service := range services {
				if form := rfc6052(addr, bits, service); everything.Check(form) == nil {
					t.Fatalf("%s is reached through %s", service, form)
				}
			}
		}
		if !globalUnicast.Contains(addr) {
			return
		}
		reason := (&Policy{}).forbids(addr)
		inner, isatap := isatapIPv4(addr)
		switch {
		case isatap && (&Policy{}).forbids(inner) != "" && reason == "":
			t.Fatalf("%s leads to %s", addr, inner)
		case reason == embeddedReason && !isatap && !sixToFour.Contains(addr) && !teredo.Contains(addr):
			t.Fatalf("%s is refused by accident", addr)
		}
	})
}
