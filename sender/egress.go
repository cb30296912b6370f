package sender

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"github.com/hookpost/hookpost/internal/netguard"
)

// Egress says where requests may go. The URL of an endpoint is somebody else's
// input, and the sender stands inside a network that the somebody may want to
// reach. The zero Egress therefore permits public addresses only: no loopback, no
// private network, no link-local or otherwise special range. A host is resolved
// once per connection, refused if any of its addresses is forbidden, and
// connected to at an address that was checked. An address that does not answer within
// 250 ms, less with a short timeout, is joined by the next (RFC 8305), 8 of them at most,
// and the first connection counts. No request begins on a connection older than
// HTTPOptions.MaxConnAge. A proxy is used only if it is set here, whatever the
// environment says.
type Egress struct {
	// Allow permits addresses that are not public, such as 127.0.0.0/8 while
	// developing. The addresses at which clouds hand out credentials stay forbidden,
	// and so does every IPv6 form of them.
	Allow []netip.Prefix

	// Ports, unless empty, are the only ones permitted. Default: 80, 443, 8080, 8443
	// and all above 1023 except those of well-known services such as databases and
	// the bad ports of the Fetch standard; inside Allow these too.
	Ports []uint16

	// Only, unless empty, names the only hosts that requests go to, which keeps a
	// copy of production from calling anybody. It doesn't permit what is forbidden
	// otherwise.
	Only []string

	// NAT64 judges an address in 64:ff9b::/96 by the IPv4 address inside it, for
	// networks that reach IPv4 through DNS64. Default: they are forbidden. A network
	// that translates under a prefix of its own must keep its translator from private
	// IPv4 addresses, because such a prefix looks like any other.
	NAT64 bool

	// Resolver looks up hosts. Default: net.DefaultResolver.
	Resolver Resolver

	// Proxy, unless nil, is the HTTP proxy that all requests go through, such as
	// http://user:password@proxy.internal:3128; its scheme is http or https, and it
	// may have any address. https goes through CONNECT, http is sent to the proxy
	// as it is.
	//
	// The proxy then looks up the hosts, and so it is the proxy that must refuse
	// names of addresses that are not public: most do not by default. Here are still
	// judged the spelling of hosts, Only, ports, hosts that are addresses, and the
	// names of this machine. Resolver is not used. Answers of the proxy's own to
	// http requests can't be told from those of receivers.
	Proxy *url.URL
}

// Format implements [fmt.Formatter]: the password of Proxy is not shown.
func (e Egress) Format(f fmt.State, verb rune) {
	if e.Proxy != nil {
		if _, has := e.Proxy.User.Password(); has {
			shown := *e.Proxy
			shown.User = url.UserPassword(shown.User.Username(), "xxxxx") // as net/url does
			e.Proxy = &shown
		}
	}
	type plain Egress // without this method
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(e))
}

// Resolver looks up the addresses of a host. [*net.Resolver] is one.
type Resolver interface {
	// LookupNetIP returns the addresses of host; network is "ip", "ip4" or "ip6".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// policy returns what is enforced. The slices are copied: a change by the
// caller later on must not become one of the policy.
func (e *Egress) policy() (*netguard.Policy, error) {
	for i, p := range e.Allow {
		if !p.IsValid() {
			return nil, fmt.Errorf("%w: HTTP.Egress.Allow has an invalid prefix at %d", ErrInvalidOptions, i)
		}
	}
	if slices.Contains(e.Ports, 0) {
		return nil, fmt.Errorf("%w: HTTP.Egress.Ports contains 0", ErrInvalidOptions)
	}
	for _, host := range e.Only {
		if err := netguard.CheckHost(host); err != nil {
			return nil, fmt.Errorf("%w: HTTP.Egress.Only: %w", ErrInvalidOptions, err)
		}
	}
	return &netguard.Policy{
		Allow:    slices.Clone(e.Allow),
		Ports:    slices.Clone(e.Ports),
		Only:     slices.Clone(e.Only),
		NAT64:    e.NAT64,
		Resolver: e.Resolver,
	}, nil
}
