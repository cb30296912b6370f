package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ownHost lets requests through that ask for this machine: by an address, as localhost
// or by the name in addr. The page lets in whoever reaches it, and a web site elsewhere
// can let its own name lead to 127.0.0.1 (DNS rebinding): to a browser that page and
// this one are then the same site.
func ownHost(addr string, h http.Handler) http.Handler {
	own := hostOf(addr)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOf(r.Host)
		_, err := netip.ParseAddr(host)
		if err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost") || host == own && own != "" {
			h.ServeHTTP(w, r)
			return
		}
		http.Error(w, fmt.Sprintf("This page answers to localhost and to IP addresses, not to the name %.100q. "+
			"To use a name, start it with -addr NAME:PORT.", host), http.StatusForbidden)
	})
}

// hostOf is the host of host:port or of host alone, in lower case.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
