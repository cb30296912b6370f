package netguard

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// DialContext is a function for [net/http.Transport.DialContext]. It connects to
// addr, a host and a port, over TCP if the policy permits; otherwise the error is
// a [*BlockedError] and nothing was dialled.
//
// The host is resolved once. If one of its addresses is forbidden, so is the
// host, whatever the others are: a name that leads to both is an attack or a
// mistake. The judged addresses, 8 at most, are dialled as RFC 8305 has it: in the
// resolver's order but with IPv6 and IPv4 by turns, each 250 ms after the one before,
// sooner where the deadline of ctx is near, or as soon as one has failed, until one
// answers. The addresses of localhost are the
// exception: if the policy allows some of them, the rest is left out.
func (p *Policy) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	p = p.orZero()
	host, port, err := splitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var lookup string
	switch network {
	case "tcp":
		lookup = "ip"
	case "tcp4":
		lookup = "ip4"
	case "tcp6":
		lookup = "ip6"
	default:
		return nil, &BlockedError{Host: host, Reason: fmt.Sprintf("network %q is not TCP", network)}
	}
	if host, err = p.checkName(host); err != nil {
		return nil, err
	}
	answers, err := p.resolve(ctx, lookup, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	vetted, err := p.vet(host, port, answers)
	if err != nil {
		return nil, err
	}
	return p.dial(ctx, network, vetted, port)
}

// splitHostPort accepts what net.SplitHostPort does with a decimal port.
func splitHostPort(addr string) (string, uint16, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, &BlockedError{Host: addr, Reason: "not a host and a port"}
	}
	// Zeros in front are accepted because net/http passes them on.
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || len(text) > 10 {
		return "", 0, &BlockedError{Host: host, Reason: "the port is not a number from 1 to 65535"}
	}
	return host, uint16(port), nil
}

// checkName judges what can be judged of a host without its addresses, and returns
// it in ASCII.
func (p *Policy) checkName(host string) (string, error) {
	host, err := ASCIIHost(host)
	if err != nil {
		return "", err
	}
	if err := CheckHost(host); err != nil {
		return "", err
	}
	if !p.names(host) {
		return "", &BlockedError{Host: host, Reason: "not among the hosts that may be dialled"}
	}
	return host, nil
}

// names reports whether Only permits host.
func (p *Policy) names(host string) bool {
	if len(p.Only) == 0 {
		return true
	}
	host = canonicalName(host)
	return slices.ContainsFunc(p.Only, func(only string) bool {
		ascii, err := ASCIIHost(only)
		return err == nil && canonicalName(ascii) == host
	})
}

// resolve returns the addresses of host, which passed CheckHost.
func (p *Policy) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	var r Resolver = net.DefaultResolver
	if p.Resolver != nil {
		r = p.Resolver
	}
	addrs, err := r.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// vet judges all answers and returns those to dial, unmapped, each once.
func (p *Policy) vet(host string, port uint16, answers []netip.Addr) ([]netip.Addr, error) {
	local := IsLoopbackHost(host)
	var vetted []netip.Addr
	var refused error
	for _, addr := range answers {
		reason := p.forbids(addr)
		if reason == "" {
			reason = p.forbidsPort(addr, port)
		}
		addr = addr.Unmap()
		switch {
		case reason != "":
			if refused == nil {
				refused = &BlockedError{Host: host, Addr: addr, Reason: reason}
			}
			if !local || !addr.IsLoopback() {
				return nil, refused
			}
		case !slices.Contains(vetted, addr):
			vetted = append(vetted, addr)
		}
	}
	if len(vetted) == 0 {
		return nil, refused
	}
	return interleave(vetted), nil
}

// control judges the address once more, between the creation of the socket and
// its connection, where nothing can come between the judgement and the act.
func (p *Policy) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return &BlockedError{Host: address, Reason: fmt.Sprintf("network %q is not TCP", network)}
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &BlockedError{Host: address, Reason: "not an address and a port"}
	}
	if err := p.Check(ap.Addr()); err != nil {
		return err
	}
	return p.CheckPort(ap.Addr(), ap.Port())
}
