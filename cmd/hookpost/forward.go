package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
