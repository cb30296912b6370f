package netguard

import "net/netip"

const (
	loopbackReason = "localhost is this server; use a tunnel"
	metadataReason = "a cloud metadata service, which is never allowed"
	privateReason  = "a private network"
	linkReason     = "a link-local address"
	docReason      = "reserved for documentation"
	reservedReason = "a reserved address"
	thisReason     = "this server itself, not an address to send to"
	groupReason    = "a multicast address"
	embeddedReason = "an IPv6 form that leads to an IPv4 address"
	sharedReason   = "shared address space of a provider"
	benchReason    = "reserved for benchmarks"
	publicReason   = "not a public IPv6 address"
)

type denial struct {
	prefix netip.Prefix
	reason string
}

// denied lists what is not public: for IPv4 everything that the IANA registry of
// special-purpose addresses doesn't call globally reachable, for IPv6 the same
// within 2000::/3 (everything outside it is refused as a whole) and those parts
// outside that have a better reason to give. The first match counts.
var denied = denials(
	"0.0.0.0/8", thisReason,
	"10.0.0.0/8", privateReason,
	"100.64.0.0/10", sharedReason,
	"127.0.0.0/8", loopbackReason,
	"169.254.0.0/16", linkReason,
	"172.16.0.0/12", privateReason,
	"192.0.0.0/24", reservedReason,
	"192.0.2.0/24", docReason,
	"192.88.99.0/24", reservedReason, // 6to4 relays, RFC 7526
	"192.168.0.0/16", privateReason,
	"198.18.0.0/15", benchReason,
	"198.51.100.0/24", docReason,
	"203.0.113.0/24", docReason,
	"224.0.0.0/4", groupReason,
	"240.0.0.0/4", reservedReason,

	"::1/128", loopbackReason,
	"::/128", thisReason,
	"::/96", embeddedReason, // IPv4-compatible, RFC 4291
	"::ffff:0:0:0/96", embeddedReason, // IPv4-translated, RFC 2765
	"64:ff9b::/96", embeddedReason, // NAT64, RFC 6052
	"64:ff9b:1::/48", embeddedReason, // local NAT64, RFC 8215
	"2001::/32", embeddedReason, // Teredo, RFC 4380
	"2001::/23", reservedReason, // IETF protocol assignments
	"2001:db8::/32", docReason,
	"2002::/16", embeddedReason, // 6to4, RFC 3056
	"3fff::/20", docReason, // RFC 9637
	"fc00::/7", privateReason,
	"fe80::/10", linkReason,
	"fec0::/10", privateReason, // site-local, deprecated by RFC 3879
	"ff00::/8", groupReason,
)

func denials(pairs ...string) []denial {
	list := make([]denial, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, denial{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return list
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
)

// forbids returns why addr must not be dialled, or "".
func (p *Policy) forbids(addr netip.Addr) string {
	if !addr.IsValid() {
		return "not an address"
	}
	// Before anything else: no prefix contains an address with a zone.
	if addr.Zone() != "" {
		return "an address with a zone"
	}
	addr = addr.Unmap()
	if leadsToMetadata(addr) {
		return metadataReason
	}
	if p.NAT64 && nat64.Contains(addr) {
		return p.forbids(ipv4At(addr.As16(), 12))
	}
	if p.allows(addr) {
		return ""
	}
	for _, d := range denied {
		if d.prefix.Contains(addr) {
			return d.reason
		}
	}
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return publicReason
	}
	if inner, ok := isatapIPv4(addr); ok && p.forbids(inner) != "" {
		return embeddedReason
	}
	return ""
}

// allows reports whether the operator's prefixes cover addr, which is unmapped.
func (p *Policy) allows(addr netip.Addr) bool {
	for _, prefix := range p.Allow {
		// ::ffff:10.0.0.0/104 is another way to write 10.0.0.0/8.
		if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
		}
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
