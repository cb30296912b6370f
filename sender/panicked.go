package sender

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
)

// What follows calls code of the application's that may panic. Each call says whose
// code it was.

// panicError says that code of the application's panicked, and which.
type panicError struct {
	what string // "the signature scheme main.Mine"
	said string
}

func (e *panicError) Error() string { return e.what + " panicked: " + e.said }

// panicText is what can be told of a panic: the words of the runtime's. The text of
// another one may contain what the code was given, a key for instance.
func panicText(p any) string {
	if e, ok := p.(runtime.Error); ok {
		return e.Error()
	}
	return fmt.Sprintf("with a value of type %T", p)
}

// bindKey binds a scheme to the secrets.
func bindKey(s signing.Scheme, secrets []signing.Secret) (_ signing.Key, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Sprintf("the signature scheme %T", s), panicText(p)}
		}
	}()
	k, err := s.Bind(secrets...)
	if err != nil {
		return nil, fmt.Errorf("sender: signature scheme %s: %w", s.Name(), err)
	}
	return k, nil
}

// headerNames returns the headers that a key sets.
func headerNames(k signing.Key) (_ []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Sprintf("the signature scheme's key %T", k), panicText(p)}
		}
	}()
	return signing.HeaderNames(k), nil
}

// setHeaders signs with a key.
func setHeaders(k signing.Key, h http.Header, m signing.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Sprintf("the signature scheme's key %T", k), panicText(p)}
		}
	}()
	k.SetHeaders(h, m)
	return nil
}

// roundTrip makes a request by a transport that the application may have wrapped.
func (p *poster) roundTrip(req *http.Request) (_ *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{fmt.Sprintf("HTTP.WrapTransport's %T", p.rt), panicText(v)}
		}
	}()
	return p.rt.RoundTrip(req)
}

// survived is deferred around reading an answer's body: that of a wrapped transport
// may panic, which can't undo the outcome.
func survived() { _ = recover() }

// dialPanicked turns a panic while dialling into an error and closes what was dialled.
// net/http dials on a goroutine of its own, where a panic ends the process.
func dialPanicked(conn *net.Conn, err *error) {
	if p := recover(); p != nil {
		if *conn != nil {
			(*conn).Close()
		}
		*conn, *err = nil, &panicError{"Egress.Resolver or a function in HTTP.TLS", panicText(p)}
	}
}

// survivingSchedule asks a schedule of the application's. If it panics the default one
// is asked instead, since the delivery must go on somehow.
type survivingSchedule struct {
	retry.Schedule
	trouble *trouble
}

// Next implements [retry.Schedule].
func (s survivingSchedule) Next(f retry.Failure) (delay time.Duration, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.trouble.report("hookpost: a schedule panicked; retry.Default is used in its place",
				&panicError{fmt.Sprintf("the schedule %T", s.Schedule), panicText(p)})
			delay, ok = retry.Default.Next(f)
		}
	}()
	return s.Schedule.Next(f)
}
