package netguard

import "net/netip"

// metadata lists the addresses on which clouds answer any local process with
// credentials or configuration. No prefix of an operator covers them.
var metadata = addresses(
	"169.254.169.254",    // AWS, Azure, Google, Oracle, DigitalOcean and others
	"169.254.169.252",    // Google: GKE workload identity, behind the node's translation
	"169.254.169.250",    // Rancher
	"169.254.170.2",      // AWS: ECS task credentials
	"169.254.170.23",     // AWS: EKS pod identity
	"169.254.0.23",       // Tencent
	"169.254.10.10",      // Tencent
	"169.254.42.42",      // Scaleway
	"100.100.100.200",    // Alibaba
	"100.96.0.96",        // Volcano Engine
	"100.80.80.80",       // UCloud
	"168.63.129.16",      // Azure WireServer, in a public range
	"192.0.0.192",        // Oracle Classic
	"fd00:ec2::254",      // AWS
	"fd00:ec2::23",       // AWS: EKS pod identity
	"fd20:ce::254",       // Google
	"fd00:42::42",        // Scaleway
	"fd00:100::100:200",  // Alibaba
	"fd00:a9fe:a9fe::1",  // Akamai
	"fd00:c1::a9fe:a9fe", // Oracle
	"fe80::a9fe:a9fe",    // OpenStack
)

func addresses(list ...string) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(list))
	for _, s := range list {
		set[netip.MustParseAddr(s)] = true
	}
	return set
}

// leadsToMetadata reports whether addr, which is unmapped, is a metadata address or
// has a form that a translator or a tunnel turns into one.
//
// It reads every layout under every prefix, because a network may translate under a
// prefix of its own, which looks like any other. By accident that refuses one IPv6
// address in 50 million.
func leadsToMetadata(addr netip.Addr) bool {
	if metadata[addr] {
		return true
	}
	for _, inner := range embeddedIPv4(addr) {
		if metadata[inner] {
			return true
		}
	}
	return false
}
