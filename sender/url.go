package sender

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hookpost/hookpost/internal/netguard"
	"github.com/hookpost/hookpost/store"
)

const maxURL = 2048

// ErrInvalidURL says that a URL can't be that of an endpoint. The error is a
// [*URLError].
var ErrInvalidURL = errors.New("sender: invalid endpoint URL")

// URLError says what is wrong with the URL of an endpoint. It is an
// ErrInvalidURL.
type URLError struct {
	URL     string // as far as it may be shown: without userinfo, query and fragment
	Problem string // what is wrong and what would be right
}

func (e *URLError) Error() string {
	if e.URL == "" {
		return "sender: endpoint URL " + e.Problem
	}
	return fmt.Sprintf("sender: endpoint URL %q %s", e.URL, e.Problem)
}

// Is makes errors.Is(err, ErrInvalidURL) true.
func (e *URLError) Is(target error) bool { return target == ErrInvalidURL }

// urlRules say which well-formed URLs are acceptable.
type urlRules struct {
	requireHTTPS bool
	// mode decides about hosts and ports that are known to be forbidden without a
	// lookup: Live refuses them. Test accepts loopback on every port, where attempts
	// then fail as blocked unless the policy allows it. The zero mode leaves all of
	// them to the dialler.
	mode   store.Mode
	policy *netguard.Policy
}

// endpointURL is a URL that was accepted.
type endpointURL struct {
	// text is the URL as it is requested: scheme and host in lower case, the host
	// in ASCII, without a default port; path and query byte for byte as they were
	// given, but for what may not stand there, which is escaped.
	text string
	// key is the same for all spellings of scheme, host and port, and with a path or
	// without one. Other URLs that a receiver may take for the same differ in it.
	key string
}

// parseEndpointURL checks the shape of a URL, not whether anybody is there.
func parseEndpointURL(raw string, rules urlRules) (endpointURL, error) {
	bad := func(format string, args ...any) (endpointURL, error) {
		return endpointURL{}, &URLError{URL: redactURL(raw), Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case raw == "":
		return bad("is empty; give one such as https://example.com/webhooks")
	case len(raw) > maxURL:
		return bad("has %d bytes; at most %d are accepted", len(raw), maxURL)
	case !utf8.ValidString(raw):
		return bad("is not valid UTF-8")
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return bad("contains a space or a control character; escape it as %%20 and the like")
	case strings.Contains(raw, "#"):
		return bad("has a fragment (#…), which is never sent; remove it")
	case hasStrayPercent(raw):
		return bad("holds a %% that begins no escape; write %%25 for the sign itself")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The cause quotes the URL, which may hold a token.
		return bad("can't be parsed; give one such as https://example.com/webhooks")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch {
	case u.Scheme == "":
		return bad("is not absolute; begin with https://")
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("has the scheme %.20q; only http and https are possible", u.Scheme)
	case u.Opaque != "" || u.Hostname() == "":
		return bad("has no host; give one such as https://example.com/webhooks")
	case u.User != nil:
		return bad("holds a user name or password; receivers check the signature instead")
	case rules.requireHTTPS && u.Scheme != "https":
		return bad("is not encrypted; https is required")
	}

	port, ok := parsePort(u)
	if !ok {
		return bad("has a port that is not a number from 1 to 65535")
	}
	host := u.Hostname()
	if err := netguard.CheckHost(host); err != nil {
		return bad("has a host that is not acceptable: %s", reasonOf(err))
	}
	if host, err = netguard.ASCIIHost(host); err != nil {
		return bad("has a host that is not acceptable: %s", reasonOf(err))
	}
	host = strings.ToLower(host)
	if err := rules.checkHost(host, port, u.Scheme); err != nil {
		return bad("can't be called: %s", reasonOf(err))
	}

	// u.Path is decoded, and encoding it would not give back the same bytes.
	_, rest, _ := strings.Cut(raw, "://")
	target := ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		target = escapeTarget(rest[i:])
	}
	out := endpointURL{text: u.Scheme + "://" + joinHost(host, port) + target}
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	out.key = u.Scheme + "://" + joinHost(strings.TrimSuffix(host, "."), port) + target
	if n := max(len(out.text), len(out.key)); n > maxURL {
		return bad("has %d bytes once it is escaped; at most %d are accepted", n, maxURL)
	}
	return out, nil
}

// checkHost refuses what the policy forbids whatever a lookup would say. A name may
// lead into a prefix that the policy allows, where more ports are permitted.
func (r *urlRules) checkHost(host string, port uint16, scheme string) error {
	if r.mode == 0 || r.policy == nil {
		return nil
	}
	if port == 0 {
		port = defaultPort(scheme)
	}
	addr, err := netip.ParseAddr(host)
	isAddr := err == nil
	if netguard.IsLoopbackHost(host) {
		if r.mode == store.Test {
			return nil
		}
		if !isAddr {
			// Whichever loopback address the name has, it is this machine.
			if r.policy.Check(netip.IPv6Loopback()) == nil {
				return nil
			}
			return r.policy.Check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		}
	}
	if !isAddr {
		if len(r.policy.Allow) > 0 {
			return nil
		}
		return r.policy.CheckPort(netip.Addr{}, port)
	}
	if err := r.policy.Check(addr); err != nil {
		return err
	}
	return r.policy.CheckPort(addr, port)
}

// parsePort returns the port of the URL, 0 if it is the scheme's default.
func parsePort(u *url.URL) (uint16, bool) {
	text := u.Port()
	if text == "" {
		return 0, !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, false
	}
	if uint16(n) == defaultPort(u.Scheme) {
		return 0, true
	}
	return uint16(n), true
}

func defaultPort(scheme string) uint16 {
	if scheme == "https" {
		return 443
	}
	return 80
}

func joinHost(host string, port uint16) string {
	switch {
	case port != 0:
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// reasonOf returns what an egress error says without repeating the host.
func reasonOf(err error) string {
	var blocked *netguard.BlockedError
	if errors.As(err, &blocked) {
		return blocked.Reason
	}
	return err.Error()
}

// redactURL returns what of a URL can be shown to anybody: userinfo, query and
// fragment often hold a token. The input need not be a valid URL.
func redactURL(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		scheme, rest = "", raw
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	// A password may itself hold a slash, which ends the authority: cut at the last @.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	rest = withoutBadPort(rest)
	if found {
		rest = scheme + "://" + rest
	}
	if len(rest) > 200 {
		rest = rest[:200] + "…"
	}
	return strings.ToValidUTF8(rest, "\uFFFD")
}

// withoutBadPort hides what stands where a port would and is none, with all behind it:
// the beginning of a password in which #, ? or / was not escaped, or that has no host.
func withoutBadPort(rest string) string {
	authority, _, _ := strings.Cut(rest, "/")
	host := strings.LastIndexByte(authority, ']') + 1 // a colon within brackets is an address's
	i := strings.IndexByte(authority[host:], ':')
	if i < 0 {
		return rest
	}
	i += host + 1
	if port := authority[i:]; len(port) <= len("65535") && strings.Trim(port, "0123456789") == "" {
		return rest
	}
	return rest[:i] + redacted
}
