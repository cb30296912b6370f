package sender

import (
	"net/http"
	"strings"
)

// forbiddenHeaders are the headers that no endpoint can set, with the reason: "Host
// can't be set: it ...". A name that ends in "*" stands for all that begin so.
var forbiddenHeaders = []struct {
	why   string
	names []string
}{
	{"belongs to the connection", []string{
		"Host", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Connection", "Keep-Alive", "Upgrade", "Expect", "Http2-Settings", "Proxy-*",
	}},
	{"describes the body, which is the event's", []string{"Content-Type", "Content-Encoding"}},
	{"asks for compressed answers, which the log could not show", []string{"Accept-Encoding"}},
	{"names the sender; see HTTPOptions.UserAgent", []string{"User-Agent"}},
	{"makes Go's client repeat requests by itself; the id of the event is in the signed headers", []string{
		"Idempotency-Key", "X-Idempotency-Key",
	}},
	{"belongs to tracing, and is another one in each request", []string{"Traceparent", "Tracestate"}},
	{"carries a signature", []string{"Webhook-*", "Svix-*"}},
	{"belongs to browsers", []string{"Sec-*"}},

	// A receiver believes these where its proxy or its provider's sets them, and the
	// request may come past that, or from inside its network.
	{"says where a request comes from", []string{
		"Forwarded", "Forwarded-*", "Via", "X-Forwarded", "X-Forwarded-*", "X-Forward-*", "X-Proxyuser-Ip",
		"Client-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Real-Ip", "X-Remote-Ip", "X-Remote-Addr", "Remote-Addr", "X-Originating-Ip",
		"True-Client-Ip", "Cf-Connecting-*", "Cf-Pseudo-Ipv4", // Akamai, Cloudflare
		"Fastly-Client-Ip", "Fly-Client-Ip", "Do-Connecting-Ip", "X-Appengine-*", "X-Azure-Clientip", "X-Azure-Socketip", "X-Nf-Client-Connection-Ip",
		"X-Envoy-External-Address", "X-Envoy-Internal", "X-Vercel-Forwarded-For", "Cloudfront-Viewer-*",
	}},
	{"says who a request comes from", []string{
		"Remote-User", "X-Remote-User", "Ssl-Client-*", "X-Ssl-Client-*", "X-Client-Cert*", "X-Ms-Client-Principal*",
		"X-Goog-Authenticated-User-*", "X-Goog-Iap-*", "X-Amzn-Oidc-*",
	}},
	{"says what was asked for before a proxy changed it", []string{
		"X-Original-*", "X-Rewrite-*", "X-Envoy-Original-*", "X-Host", "X-Host-Override", "X-Http-Host-Override",
	}},
	{"makes it another request than the POST that it is", []string{
		"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Http-Path-Override",
	}},
}

// forbiddenHeader says what a header is for that no endpoint can set it; "" if it can.
func forbiddenHeader(name string) string {
	name = plainHeader(name)
	for _, f := range forbiddenHeaders {
		for _, forbidden := range f.names {
			prefix, all := strings.CutSuffix(forbidden, "*")
			if name == forbidden || all && strings.HasPrefix(name, prefix) {
				return f.why
			}
		}
	}
	return ""
}

// sameHeader reports whether two names can be one header to a receiver.
func sameHeader(a, b string) bool { return plainHeader(a) == plainHeader(b) }

// plainHeader returns a name in canonical form, with a hyphen for all but letters and
// digits: what CGI and those who follow it make of one, WSGI, Rack and PHP among them,
// tells X_Forwarded_For and X.Forwarded.For from X-Forwarded-For no more.
func plainHeader(name string) string {
	return http.CanonicalHeaderKey(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, name))
}
