//go:build !unix

// Package pgserver finds a PostgreSQL server for tests. It starts none here.
package pgserver

import "context"

// Server is a private server; there is none here.
type Server struct{}

// Start returns [ErrNone].
func Start(context.Context, ...string) (*Server, error) { return nil, ErrNone }

// DSN connects to a database of the server's.
func (*Server) DSN(string) string { return "" }

// Restart returns [ErrNone].
func (*Server) Restart(context.Context) error { return ErrNone }

// Stop does nothing.
func (*Server) Stop() error { return nil }

// Standby returns [ErrNone].
func (*Server) Standby(context.Context) (*Server, error) { return nil, ErrNone }

// Promote returns [ErrNone].
func (*Server) Promote(context.Context) error { return ErrNone }

// Bouncer is a private PgBouncer; there is none here.
type Bouncer struct{}

// StartBouncer returns [ErrNoBouncer].
func StartBouncer(context.Context, Upstream, int) (*Bouncer, error) { return nil, ErrNoBouncer }

// DSN connects to a database of the server's.
func (*Bouncer) DSN(string) string { return "" }

// Restart returns [ErrNoBouncer].
func (*Bouncer) Restart(context.Context) error { return ErrNoBouncer }

// Stop does nothing.
func (*Bouncer) Stop() error { return nil }
