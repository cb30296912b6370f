package sender

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/hookpost/hookpost/internal/netguard"
)

// The classes of failed attempts, as in store.Attempt.Class.
const (
	ClassTimeout   = "timeout"   // no complete headers within HTTPOptions.Timeout
	ClassDNS       = "dns"       // the host's addresses could not be found
	ClassConnect   = "connect"   // nobody took the connection
	ClassTLS       = "tls"       // the handshake failed, as with an expired certificate
	ClassProxy     = "proxy"     // Egress.Proxy could not be reached or refused to connect
	ClassBlocked   = "blocked"   // Egress forbids going there; no request was made
	ClassClosed    = "closed"    // the connection ended before the answer
	ClassProtocol  = "protocol"  // the answer was not HTTP as it should be
	ClassStatus    = "status"    // the answer was not 2xx
	ClassCancelled = "cancelled" // the caller's context ended
	ClassSigning   = "signing"   // the event could not be signed; no request was made
	ClassPanic     = "panic"     // code of the application's panicked: a scheme, the transport, a resolver
)

const maxErrorText = 300

// classify finds the class of an attempt that got no answer.
func classify(parent context.Context, err error, late bool) string {
	var (
		netErr  net.Error
		blocked *netguard.BlockedError
		dns     *net.DNSError
		stage   *stageError
		op      *net.OpError
		panics  *panicError
	)
	switch {
	case errors.As(err, &panics):
		return ClassPanic
	case late:
		return ClassTimeout
	case parent.Err() != nil:
		return ClassCancelled
	case errors.As(err, &blocked):
		return ClassBlocked
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ClassTimeout
	case errors.As(err, &op) && op.Op == "proxyconnect": // how net/http marks the way to the proxy
		return ClassProxy
	case errors.As(err, &dns):
		return ClassDNS
	case errors.As(err, &netErr) && netErr.Timeout():
		return ClassTimeout
	case errors.As(err, &stage):
		return stage.class
	case isTLS(err):
		return ClassTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED),
		strings.Contains(err.Error(), "server closed idle connection"): // net/http has no value for it
		return ClassClosed
	}
	return ClassProtocol
}

// isTLS recognises what fails after the handshake, such as a client certificate
// that TLS 1.3 refuses with the first answer.
func isTLS(err error) bool {
	var (
		alert  tls.AlertError
		record tls.RecordHeaderError
		cert   *tls.CertificateVerificationError
		op     *net.OpError
	)
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &cert) ||
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// explain puts a failure into words for the endpoint's owner: nothing of the URL's
// query, of our own addresses, or of our name servers.
func explain(class string, err error, timeout time.Duration) string {
	switch class {
	case ClassPanic:
		return "the sender's own code failed"
	case ClassTimeout:
		return fmt.Sprintf("no answer within %s", timeout)
	case ClassCancelled:
		return "the sender stopped waiting for the answer"
	case ClassDNS:
		var dns *net.DNSError
		if errors.As(err, &dns) {
			if dns.IsNotFound {
				return fmt.Sprintf("the host %.255q does not exist", dns.Name)
			}
			return fmt.Sprintf("the addresses of the host %.255q could not be looked up", dns.Name)
		}
	case ClassBlocked:
		var blocked *netguard.BlockedError
		if errors.As(err, &blocked) {
			return clean("requests to this URL are not allowed: " + blocked.Reason)
		}
	case ClassConnect:
		return clean("could not connect: " + cause(err))
	case ClassTLS:
		return clean("the TLS handshake failed: " + cause(err))
	case ClassProxy: // its name and address are nobody's business
		var stage *stageError
		if errors.As(err, &stage) {
			return clean("the sender's egress proxy answered " + stage.err.Error())
		}
		return "the sender's egress proxy could not be reached"
	case ClassClosed:
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return "the receiver reset the connection before it answered"
		}
		return "the receiver closed the connection before it answered"
	}
	return clean("no valid HTTP answer: " + cause(err))
}

// cause returns the text of an error without the layers that name addresses or
// the URL.
func cause(err error) string {
	var (
		errno    syscall.Errno
		hostname x509.HostnameError
		cert     *tls.CertificateVerificationError
		op       *net.OpError
		link     *url.Error
	)
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &hostname):
		return "the certificate is for another host"
	case errors.As(err, &cert):
		return cert.Err.Error()
	case errors.As(err, &op) && op.Err != nil:
		return op.Err.Error()
	case errors.As(err, &link) && link.Err != nil:
		return cause(link.Err)
	case errors.Is(err, io.EOF):
		return "the receiver closed the connection"
	}
	var stage *stageError
	if errors.As(err, &stage) {
		err = stage.err
	}
	text := strings.TrimPrefix(err.Error(), "net/http: ")
	if strings.Contains(text, "readLoopPeekFailLocked") { // net/http's own, with a verb of fmt in it
		return "the receiver sent something before the request"
	}
	return strings.TrimPrefix(text, "HTTP/1.x transport connection broken: ")
}

// clean makes a text storable and fit for one line.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}

// explainStatus says what is wrong with an answer that is not 2xx.
func explainStatus(status int) string {
	name := http.StatusText(status)
	if name != "" {
		name = " " + name
	}
	switch {
	case status == http.StatusNotModified:
	case status >= 300 && status <= 399:
		return fmt.Sprintf("the receiver answered %d%s; redirects are not followed, so the endpoint needs the final URL", status, name)
	}
	return fmt.Sprintf("the receiver answered %d%s", status, name)
}
