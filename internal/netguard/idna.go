package netguard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxUnicodeHost bounds the work on a host that isn't ASCII. No shorter name
// than maxHost has more bytes than that: 4 for each character.
const maxUnicodeHost = 4 * maxHost

// ASCIIHost returns the host that net/http dials for host: an ASCII host as it
// is, any other mapped by IDNA (RFC 5891, UTS #46). The mapping can turn a host
// that looks harmless into an address or into localhost, so judge its result. The
// error is a [*BlockedError].
func ASCIIHost(host string) (string, error) {
	if isASCII(host) {
		return host, nil
	}
	if len(host) > maxUnicodeHost || !utf8.ValidString(host) || strings.ContainsAny(host, ":/?#[]@\\% \t\r\n") {
		return "", &BlockedError{Host: host, Reason: "not a host name"}
	}
	ascii := dialledHost(host)
	if !isASCII(ascii) { // net/http dials what it can't map as it is
		return "", &BlockedError{Host: host, Reason: "not a valid international host name"}
	}
	return ascii, nil
}

// dialledHost asks net/http, whose IDNA tables are not exported, by letting a
// transport dial into a function that takes the address down and fails. Nothing
// reaches the network. An empty result means that net/http refused to dial.
func dialledHost(host string) string {
	dialled := make(chan string, 1)
	t := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			if h, _, err := net.SplitHostPort(addr); err == nil {
				select {
				case dialled <- h:
				default:
				}
			}
			return nil, errNoNetwork
		},
	}
	// Like a request of http.Client, but without its redirects and cookies.
	resp, err := t.RoundTrip(&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: "http", Host: host, Path: "/"},
		Header: http.Header{},
	})
	if err == nil {
		_ = resp.Body.Close()
	}
	select {
	case h := <-dialled:
		return h
	default:
		return ""
	}
}

var errNoNetwork = errors.New("egress: no network here")

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
