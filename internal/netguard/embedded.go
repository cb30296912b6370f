package netguard

import "net/netip"

var (
	sixToFour = netip.MustParsePrefix("2002::/16")
	teredo    = netip.MustParsePrefix("2001::/32")
)

// maxEmbedded is how many IPv4 addresses embeddedIPv4 finds: six layouts of
// RFC 6052, and one of 6to4 or Teredo.
const maxEmbedded = 7

// embeddedIPv4 returns every IPv4 address that a translator or a tunnel may read from
// an IPv6 address, whatever its prefix is. It reads the layouts of RFC 6052 for
// prefixes of 32, 40, 48, 56, 64 and 96 bits, and those of 6to4 (RFC 3056) and Teredo
// (RFC 4380). The layout for 96 bits is also that of IPv4-mapped, IPv4-compatible,
// IPv4-translated and ISATAP addresses; the layout for 32 bits is also that of Teredo
// servers.
func embeddedIPv4(addr netip.Addr) []netip.Addr {
	if !addr.Is6() {
		return nil
	}
	b := addr.As16()
	inner := make([]netip.Addr, 0, maxEmbedded)
	for _, prefix := range [...]int{4, 5, 6, 7, 8, 12} { // bytes
		inner = append(inner, ipv4At(b, prefix))
	}
	switch {
	case sixToFour.Contains(addr):
		inner = append(inner, ipv4At(b, 2))
	case teredo.Contains(addr): // the client's, every bit inverted
		inner = append(inner, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	return inner
}

// ipv4At returns the IPv4 address that begins at byte i and leaves out byte 8, which
// no layout uses (RFC 6052, 2.2).
func ipv4At(b [16]byte, i int) netip.Addr {
	var inner [4]byte
	for k := range inner {
		if i == 8 {
			i++
		}
		inner[k] = b[i]
		i++
	}
	return netip.AddrFrom4(inner)
}

// isatapIPv4 returns the IPv4 address that an ISATAP interface (RFC 5214) reads from
// an IPv6 address under any prefix.
func isatapIPv4(addr netip.Addr) (netip.Addr, bool) {
	b := addr.As16()
	if !addr.Is6() || b[8]&^2 != 0 || b[9] != 0 || b[10] != 0x5e || b[11] != 0xfe {
		return netip.Addr{}, false
	}
	return ipv4At(b, 12), true
}
