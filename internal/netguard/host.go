package netguard

import (
	"fmt"
	"net/netip"
	"strings"
)

const (
	maxHost  = 253 // of a name without its final full stop, RFC 1035
	maxLabel = 63
)

// CheckHost returns a [*BlockedError] if host is not a name or an address in the
// one form that every parser reads alike. Host is what [net/url.URL.Hostname]
// returns, without brackets. It judges the writing only: which addresses a host
// has is for [Policy.Check] and [Policy.DialContext].
//
// Names consist of letters, digits, hyphens and underscores in labels of at most
// 63 bytes, 253 bytes in all; a final full stop is accepted. Non-ASCII names are
// judged by what [ASCIIHost] makes of them. A host whose last label is a number
// must be an IPv4 address in four decimal parts, since 2130706433, 0x7f.1 and
// 127.0.0.1. are loopback to some resolvers. IPv6 addresses have the shortest
// form (RFC 5952), no zone and no IPv4 address mapped into them.
func CheckHost(host string) error {
	ascii, err := ASCIIHost(host)
	if err != nil {
		return err
	}
	if reason := misspelt(ascii); reason != "" {
		return &BlockedError{Host: host, Reason: reason}
	}
	return nil
}

// misspelt returns what is wrong with an ASCII host, or "".
func misspelt(host string) string {
	switch {
	case host == "":
		return "the host is empty"
	case strings.Contains(host, "%"):
		return "an address with a zone or an escaped host"
	case strings.Contains(host, ":"):
		return misspeltIPv6(host)
	}
	name := strings.TrimSuffix(host, ".")
	labels := strings.Split(name, ".")
	if endsInNumber(labels) {
		if addr, err := netip.ParseAddr(host); err != nil || addr.String() != host {
			return "a host that ends in a number must be an IPv4 address in four decimal parts"
		}
		return ""
	}
	if len(name) > maxHost {
		return fmt.Sprintf("a host name has at most %d bytes", maxHost)
	}
	for _, label := range labels {
		if reason := misspeltLabel(label); reason != "" {
			return reason
		}
	}
	switch strings.ToLower(labels[len(labels)-1]) {
	case "onion": // RFC 7686: must not be looked up
		return "onion services are not reachable over the internet"
	case "invalid": // RFC 6761
		return "names under .invalid don't exist"
	}
	return ""
}

func misspeltIPv6(host string) string {
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return "not an IPv6 address"
	case addr.Is4In6():
		return fmt.Sprintf("write the IPv4 address as %s", addr.Unmap())
	case addr.String() != strings.ToLower(host):
		return fmt.Sprintf("write the IPv6 address as %s", addr)
	}
	return ""
}

func misspeltLabel(label string) string {
	switch {
	case label == "":
		return "the host name has an empty part"
	case len(label) > maxLabel:
		return fmt.Sprintf("a part of a host name has at most %d bytes", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return "a part of a host name neither starts nor ends with a hyphen"
	}
	for _, c := range []byte(label) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return "a host name consists of letters, digits, hyphens and underscores"
		}
	}
	return ""
}

// endsInNumber reports whether an IPv4 parser would take the host for an address:
// the last label is decimal, octal or hexadecimal (WHATWG URL, section 3.5).
func endsInNumber(labels []string) bool {
	last := strings.ToLower(labels[len(labels)-1])
	digits := "0123456789"
	if hex, found := strings.CutPrefix(last, "0x"); found {
		last, digits = hex, "0123456789abcdef"
	} else if last == "" {
		return false
	}
	return strings.Trim(last, digits) == ""
}

// IsLoopbackHost reports whether host names the machine itself without a lookup:
// localhost and the names under it, the other names that hosts files commonly
// give it, and the loopback addresses.
func IsLoopbackHost(host string) bool {
	host, err := ASCIIHost(host)
	if err != nil {
		return false
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	host = canonicalName(host)
	switch host {
	case "localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback":
		return true
	}
	return strings.HasSuffix(host, ".localhost")
}

// canonicalName is the form in which two ASCII hosts are compared.
func canonicalName(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
