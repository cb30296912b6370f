//go:build !unix

// Package pgserver finds a PostgreSQL server for tests. It starts none here.
package pgserver

import (
	"context"
	"errors"
)

// ErrNone says that no server can be started here.
var ErrNone = errors.New("pgserver: servers are started on unix only")

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
