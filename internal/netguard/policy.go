// Package netguard decides which hosts, addresses and ports a webhook may be
// sent to, and dials nothing else.
//
// The URL of an endpoint is somebody else's input, and the sender stands inside
// a network that the somebody may want to reach. A [Policy] therefore refuses
// every address that isn't public, unless the operator allowed its prefix, and
// cloud metadata services always. It judges a host twice: [CheckHost] when it is
// registered, and [Policy.DialContext], which resolves it once, judges every
// answer and dials only what it has judged, when a request is made.
package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrBlocked is wrapped by every [*BlockedError].
var ErrBlocked = errors.New("egress: blocked")

// BlockedError says what the policy refused and why.
type BlockedError struct {
	// Host is the host as it was given; empty if only an address was judged.
	Host string

	// Addr is the forbidden address; the zero Addr if the host or the port
	// itself was refused.
	Addr netip.Addr

	// Reason is a clause in plain words, fit for the endpoint's owner to read.
	Reason string
}

// Error implements error.
func (e *BlockedError) Error() string {
	switch {
	case !e.Addr.IsValid():
		return fmt.Sprintf("%v: host %s: %s", ErrBlocked, quote(e.Host), e.Reason)
	case e.Host == "" || e.Host == e.Addr.String():
		return fmt.Sprintf("%v: address %s: %s", ErrBlocked, e.Addr, e.Reason)
	default:
		return fmt.Sprintf("%v: host %s (%s): %s", ErrBlocked, quote(e.Host), e.Addr, e.Reason)
	}
}

// Unwrap returns [ErrBlocked].
func (*BlockedError) Unwrap() error { return ErrBlocked }

// quote bounds what a hostile host can put into a log line.
func quote(host string) string {
	if len(host) > maxHost {
		return fmt.Sprintf("%q...", host[:maxHost])
	}
	return fmt.Sprintf("%q", host)
}

// Resolver looks up the addresses of a host. [*net.Resolver] is one.
type Resolver interface {
	// LookupNetIP returns the addresses of host; network is "ip", "ip4" or "ip6".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Policy says what may be dialled. The zero value allows every public address on
// the default ports. A Policy is safe for concurrent use as long as its fields
// don't change; a nil *Policy is the zero value.
type Policy struct {
	// Allow lists prefixes that are permitted although they are not public, such
	// as 127.0.0.0/8 in development. Cloud metadata addresses stay forbidden.
	Allow []netip.Prefix

	// Ports lists the only ports that may be dialled. If it is empty, those are
	// 80, 443, 8080, 8443 and the ports above 1023 except the ones on which
	// databases, caches, brokers and administration interfaces usually listen; at
	// an address inside Allow it is every port above 1023.
	Ports []uint16

	// Only, unless empty, lists the hosts that may be dialled, in any case and
	// with or without a final full stop. It restricts; it doesn't permit what
	// the rest of the policy forbids.
	Only []string

	// NAT64 judges an address inside 64:ff9b::/96 (RFC 6052) by the IPv4 address
	// in it, for hosts that reach IPv4 through DNS64. Otherwise it is forbidden.
	NAT64 bool

	// Resolver resolves the hosts; nil means [net.DefaultResolver].
	Resolver Resolver

	// Dial, unless nil, opens the connections in place of [net.Dialer], for tests. It
	// gets a judged address and a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Check returns a [*BlockedError] if addr must not be dialled on any port.
func (p *Policy) Check(addr netip.Addr) error {
	if reason := p.orZero().forbids(addr); reason != "" {
		return &BlockedError{Addr: addr, Reason: reason}
	}
	return nil
}

// CheckPort returns a [*BlockedError] if port must not be dialled at addr. The
// zero Addr stands for an address that is not inside Allow.
func (p *Policy) CheckPort(addr netip.Addr, port uint16) error {
	if reason := p.orZero().forbidsPort(addr, port); reason != "" {
		return &BlockedError{Addr: addr, Reason: reason}
	}
	return nil
}

// CheckTarget returns a [*BlockedError] if the policy forbids the host whatever
// addresses a lookup gives it. It is for requests through a proxy, which does the
// lookup: names are judged by their spelling and by Only, the names and addresses
// of this machine and all other addresses like those that are dialled.
func (p *Policy) CheckTarget(host string, port uint16) error {
	p = p.orZero()
	ascii, err := p.checkName(host)
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddr(ascii)
	if err == nil {
		_, err = p.vet(ascii, port, []netip.Addr{addr})
		return err
	}
	if IsLoopbackHost(ascii) {
		_, err = p.vet(ascii, port, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()})
		return err
	}
	if reason := p.forbidsPort(netip.Addr{}, port); reason != "" {
		return &BlockedError{Host: host, Reason: reason}
	}
	return nil
}

func (p *Policy) orZero() *Policy {
	if p == nil {
		return &Policy{}
	}
	return p
}
