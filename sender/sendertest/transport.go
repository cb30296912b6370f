package sendertest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Transport is an http.RoundTripper that answers without a network, for tests
// inside a testing/synctest bubble: delays and hangs pass in its fake time. Set
// HTTPOptions.WrapTransport of package sender to [Transport.Wrap]. It is safe for
// concurrent use.
type Transport struct {
	*script
}

// NewTransport returns a transport that gives these answers, and then the last
// one again and again; without any, an empty 200.
func NewTransport(answers ...Answer) *Transport {
	return &Transport{newScript(answers)}
}

// Wrap returns t in place of the real transport.
func (t *Transport) Wrap(http.RoundTripper) http.RoundTripper { return t }

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a := t.take(Request{
		Method: req.Method,
		URL:    req.URL.String(),
		Host:   req.Host,
		Header: req.Header.Clone(),
		Body:   body,
		At:     time.Now(),
	})
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch a.Fault {
	case Close:
		return nil, io.EOF
	case Reset:
		return nil, syscall.ECONNRESET
	case Hang:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	header := a.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	resp := &http.Response{
		Status:        strconv.Itoa(a.status()) + " " + http.StatusText(a.status()),
		StatusCode:    a.status(),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: int64(len(a.Body)),
		Request:       req,
	}
	if a.Body != "" {
		resp.Body = io.NopCloser(strings.NewReader(a.Body))
	}
	return resp, nil
}
