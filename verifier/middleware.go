package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
)

// Middleware returns a handler that calls next only for requests with a valid
// signature. next gets the event from [FromContext] and may read the body
// again. It fits wherever a func(http.Handler) http.Handler does.
//
// Other requests are answered 400 "Invalid signature", whatever was wrong with
// them, and 413 if the body is over the limit. [Options].OnError can change
// that.
//
// With Options.Dedupe a repetition of an event does not reach next: it is
// answered 200 if the event was handled, and 409 while it is being handled.
// Handled means that next returned and had answered 2xx, or nothing at all. If
// it answered anything else or panicked, the event is released for the next
// delivery. It is also released if next is or calls a [Mux] that has no handler
// for it, which answers 200. If the Dedupe fails the answer is 500.
//
// next is taken to be at work until it returns. One that returns earlier, as
// [http.TimeoutHandler] does, goes around the middleware and not behind it, where
// the next delivery would begin while the one before is still being handled.
//
// So Options.Dedupe is not for frameworks that answer past the ResponseWriter
// that next gets, or only when next has returned, as echo does around its
// WrapMiddleware for an error that a handler returns: such an event would be
// marked as handled. There, call [Verifier.ConstructEventFromRequest] and
// [Once] in the handler.
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
		d := &delivery{event: event, outer: deliveryFrom(r.Context())}
		r = r.WithContext(context.WithValue(r.Context(), deliveryKey{}, d))
		restoreBody(r, body)
		if v.dedupe == nil {
			next.ServeHTTP(w, r)
			return
		}
		v.serveOnce(w, r, d, next)
	})
}

// errAnswered says that next has given an answer that is not 2xx.
var errAnswered = errors.New("verifier: the handler did not answer 2xx")

func (v *Verifier) serveOnce(w http.ResponseWriter, r *http.Request, d *delivery, next http.Handler) {
	answer := &answerWriter{ResponseWriter: w}
	err := Once(r.Context(), v.dedupe, d.event, func(ctx context.Context) error {
		next.ServeHTTP(answer, r.WithContext(ctx))
		switch {
		case answer.status != 0 && answer.status/100 != 2:
			return errAnswered
		case d.unhandled.Load() && !d.handled.Load():
			return ErrNoHandler
		}
		return nil
	})
	if err == nil || err == errAnswered || err == ErrNoHandler || errors.Is(err, ErrDuplicate) {
		return
	}
	answer.over = answer.status != 0
	if v.onError != nil {
		v.onError(answer, r, err)
	}
	if answer.status == 0 && !errors.Is(err, ErrNoHandler) {
		notHandled(answer, err)
	}
}

// A delivery is a verified request on its way through the handlers.
type delivery struct {
	event Event

	// What Muxes say, wherever they are behind the middleware. Their answer
	// can't say it: it is 200 either way.
	handled, unhandled atomic.Bool
	outer              *delivery // of a middleware around this one
}

// tell notes what a Mux has done, for all middleware that it is behind.
func (d *delivery) tell(handled bool) {
	for ; d != nil; d = d.outer {
		if handled {
			d.handled.Store(true)
		} else {
			d.unhandled.Store(true)
		}
	}
}

type deliveryKey struct{}

// deliveryFrom returns nil without the middleware.
func deliveryFrom(ctx context.Context) *delivery {
	d, _ := ctx.Value(deliveryKey{}).(*delivery)
	return d
}

// FromContext returns the event that [Verifier.Middleware] put into the
// context of a request.
func FromContext(ctx context.Context) (Event, bool) {
	if d := deliveryFrom(ctx); d != nil {
		return d.event, true
	}
	return Event{}, false
}

func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if v.onError != nil {
		answer := &answerWriter{ResponseWriter: w}
		v.onError(answer, r, err)
		if answer.status != 0 {
			return
		}
	}
	if errors.Is(err, ErrBodyTooLarge) {
		http.Error(w, "Request body too large", http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, "Invalid signature", http.StatusBadRequest)
}

// An answerWriter notices what was answered.
type answerWriter struct {
	http.ResponseWriter
	status int  // 0: nothing yet
	over   bool // nothing more is written
}

func (w *answerWriter) WriteHeader(status int) {
	if w.over {
		return
	}
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if w.over {
		return len(p), nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
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
