package dedupe

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// repeatFor is how long a statement is repeated for: as long as verifier.Once gives
	// a mark.
	repeatFor = 5 * time.Second

	firstPause = time.Millisecond
	longPause  = 8 * time.Millisecond
)

// repeat calls f until it succeeds or fails for a reason that lasts, for up to 5 s.
// An f that fails may have been carried out.
func (s *SQL) repeat(ctx context.Context, f func(context.Context) error) error {
	end := time.Now().Add(repeatFor)
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		err := f(ctx)
		if err == nil || !s.sql.dialect.passes(err) {
			return err
		}
		wait := pause/2 + rand.N(pause) // those who were in each other's way come back apart
		if time.Until(end) < wait {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if errors.Is(err, ctx.Err()) {
				return err
			}
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// passes reports whether the same statement may succeed a moment later: others were in
// its way, or the connection is lost.
func (d Dialect) passes(err error) bool {
	var state interface{ SQLState() string } // of pgx's errors, and lib/pq's
	var result interface{ Code() int }       // of modernc.org/sqlite's
	switch {
	case d == PostgreSQL && errors.As(err, &state):
		return passingState(state.SQLState())
	case d == SQLite && errors.As(err, &result):
		primary := result.Code() & 0xff // https://www.sqlite.org/rescode.html
		return primary == 5 || primary == 6
	case d == SQLite && (strings.Contains(err.Error(), "database is locked") || strings.Contains(err.Error(), "table is locked")):
		return true // SQLite's own words, which all drivers pass on
	}
	return lostConnection(err)
}

// passingStates are SQLSTATE codes,
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
var passingStates = []string{
	"40001", // serialization_failure
	"40P01", // deadlock_detected
	"55P03", // lock_not_available, by a lock_timeout
	"57014", // query_canceled, by a statement_timeout
	"57P01", // admin_shutdown, which is also how a single connection is ended
	"57P02", // crash_shutdown
	"57P03", // cannot_connect_now: the server is starting
	"57P05", // idle_session_timeout
	"53300", // too_many_connections
}

func passingState(state string) bool {
	return strings.HasPrefix(state, "08") || slices.Contains(passingStates, state)
}

// lostConnection reports whether the client's end of a connection says so.
func lostConnection(err error) bool {
	for _, lost := range []error{
		driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	var network net.Error
	var safe interface{ SafeToRetry() bool } // of pgx, where nothing was sent
	return errors.As(err, &network) || errors.As(err, &safe) && safe.SafeToRetry()
}
