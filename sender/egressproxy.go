package sender

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hookpost/hookpost/internal/netguard"
)

// checkProxy returns a copy of Egress.Proxy, or why it can't be used.
func checkProxy(proxy *url.URL) (*url.URL, error) {
	problem := ""
	switch {
	case proxy.Scheme != "http" && proxy.Scheme != "https":
		problem = fmt.Sprintf("has the scheme %.20q; only http and https are possible", proxy.Scheme)
	case proxy.Opaque != "" || proxy.Hostname() == "":
		problem = "has no host; give one such as http://proxy.internal:3128"
	case proxy.Path != "" && proxy.Path != "/" || proxy.RawQuery != "" || proxy.Fragment != "":
		problem = "has more than a scheme, a host and a port"
	default:
		if _, ok := parsePort(proxy); !ok {
			problem = "has a port that is not a number from 1 to 65535"
		}
	}
	if problem != "" { // says nothing of the URL, which may hold a password
		return nil, fmt.Errorf("%w: HTTP.Egress.Proxy %s", ErrInvalidOptions, problem)
	}
	copied := *proxy
	return &copied, nil
}

// sendThrough makes a transport send all requests through a proxy, those that the
// policy does not forbid.
func sendThrough(t *http.Transport, proxy *url.URL, policy *netguard.Policy, d *dialer) {
	// Asked for each request, before a connection is chosen.
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		port := defaultPort(r.URL.Scheme)
		if text := r.URL.Port(); text != "" {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil {
				return nil, &netguard.BlockedError{Host: r.URL.Host, Reason: "the port is not a number from 1 to 65535"}
			}
			port = uint16(n)
		}
		if err := policy.CheckTarget(r.URL.Hostname(), port); err != nil {
			return nil, err
		}
		return proxy, nil
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := d.limit(ctx)
		defer cancel()
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	t.DialTLSContext = nil // would not be used for the receivers' TLS
	t.TLSClientConfig = d.tls
	t.TLSHandshakeTimeout = time.Minute // so that no goroutine stays for ever; an attempt ends earlier
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return &stageError{ClassProxy, fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))}
		}
		return nil
	}
}
