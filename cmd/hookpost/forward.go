package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	forwardTimeout = 30 * time.Second
	maxForwarded   = 1 << 20 // bytes of an answer's body
)

// A forwarder passes requests on to an application, headers and all, so that it can
// verify them itself.
type forwarder struct {
	to     *url.URL
	client *http.Client
}

func parseForward(s string) (*forwarder, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("want a URL such as http://localhost:3000/webhooks")
	}
	return &forwarder{to: u, client: &http.Client{
		Timeout:       forwardTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

var errItself = errors.New("the URL leads back to this listener; give it or the application another port")

// avoid refuses connections to an address of one's own, under whatever name: a
// request would go round until there are no sockets left.
func (f *forwarder) avoid(self net.Addr) {
	own, ok := self.(*net.TCPAddr)
	if !ok {
		return
	}
	dialer := &net.Dialer{Timeout: forwardTimeout}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil || !leadsTo(conn, own) {
			return conn, err
		}
		return nil, errors.Join(errItself, conn.Close())
	}
	f.client.Transport = transport
}

// leadsTo reports whether a connection's other end is the listener at an address.
func leadsTo(conn net.Conn, own *net.TCPAddr) bool {
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	local, okLocal := conn.LocalAddr().(*net.TCPAddr)
	if !ok || !okLocal || remote.Port != own.Port {
		return false
	}
	// An unspecified address stands for all of this machine's, in IPv6 for those of
	// IPv4 too.
	everywhere := own.IP.IsUnspecified() && (own.IP.To4() == nil || remote.IP.To4() != nil)
	return own.IP.Equal(remote.IP) || everywhere && local.IP.Equal(remote.IP)
}

// An answer is what the application said.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem string // why there is none
}

// hopByHop are headers of one connection, which are not passed on.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// pass sends the request on and waits for the answer. Without one it is 502.
func (f *forwarder) pass(r *http.Request, body []byte) answer {
	none := func(err error) answer {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return answer{status: http.StatusBadGateway, problem: fmt.Sprintf("not forwarded: %v", err)}
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, f.to.String(), bytes.NewReader(body))
	if err != nil {
		return none(err)
	}
	req.Header = endToEnd(r.Header)
	resp, err := f.client.Do(req)
	if err != nil {
		return none(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxForwarded))
	if err != nil {
		return none(err)
	}
	return answer{status: resp.StatusCode, header: endToEnd(resp.Header), body: text}
}

// endToEnd returns the headers that concern more than one connection.
func endToEnd(h http.Header) http.Header {
	dropped := slices.Clone(hopByHop)
	for _, list := range h.Values("Connection") {
		for name := range strings.SplitSeq(list, ",") {
			dropped = append(dropped, strings.TrimSpace(name))
		}
	}
	out := h.Clone()
	for _, name := range append(dropped, "Content-Length") {
		out.Del(name)
	}
	return out
}

// give answers as the application did.
func (a answer) give(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // who does not listen any more misses it
}
