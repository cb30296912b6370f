package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// Middleware returns a handler that calls next only for requests with a valid
// signature. next gets the event from [FromContext] and may read the body
// again.
//
// Other requests are answered 400 "Invalid signature", whatever was wrong with
// them, and 413 if the body is over the limit. [Options].OnError can change
// that.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := v.readBody(w, r)
		if err != nil {
			v.refuse(w, r, err)
			return
		}
		event, err := v.ConstructEvent(body, r.Header)
		if err != nil {
			v.refuse(w, r, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), eventKey{}, event))
		restoreBody(r, body)
		next.ServeHTTP(w, r)
	})
}

type eventKey struct{}

// FromContext returns the event that [Verifier.Middleware] put into the
// context of a request.
func FromContext(ctx context.Context) (Event, bool) {
	e, ok := ctx.Value(eventKey{}).(Event)
	return e, ok
}

func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if v.onError != nil {
		answer := &answerWriter{ResponseWriter: w}
		v.onError(answer, r, err)
		if answer.written {
			return
		}
	}
	if errors.Is(err, ErrBodyTooLarge) {
		http.Error(w, "Request body too large", http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, "Invalid signature", http.StatusBadRequest)
}

// An answerWriter notices whether OnError answered.
type answerWriter struct {
	http.ResponseWriter
	written bool
}

func (w *answerWriter) WriteHeader(status int) {
	w.written = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	w.written = true
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// maxTrust is how much memory a Content-Length is worth before its bytes have
// arrived.
const maxTrust = 64 << 10

// readBody reads the whole body within the limit. w may be nil; with it the
// server learns not to reuse the connection of an oversized request.
func (v *Verifier) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	if v.maxBody >= 0 {
		if r.ContentLength > v.maxBody {
			return nil, ErrBodyTooLarge
		}
		r.Body = http.MaxBytesReader(w, r.Body, v.maxBody)
	}
	var buf bytes.Buffer
	if n := min(r.ContentLength, maxTrust); n > 0 {
		buf.Grow(int(n) + bytes.MinRead) // ReadFrom wants that much room to see the end
	}
	if _, err := buf.ReadFrom(r.Body); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, ErrBodyTooLarge
		}
		return nil, fmt.Errorf("verifier: reading the body: %w", err)
	}
	return slices.Clip(buf.Bytes()), nil
}

// restoreBody makes the body that was read readable again.
func restoreBody(r *http.Request, body []byte) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
}
