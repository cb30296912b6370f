// Package pgtest gives tests a PostgreSQL server, pools and schemas.
package pgtest

import (
	"testing"

	"github.com/hookpost/hookpost/internal/pgserver"
)

// Server is a PostgreSQL server.
type Server struct {
	DSN string // of a role that may create schemas and roles
}

// Main runs the tests of a package with the server that [pgserver.Main] finds or
// starts. use receives it before tests run.
func Main(m *testing.M, use func(*Server)) (exitCode int) {
	return pgserver.Main(m, func(dsn string) { use(&Server{DSN: dsn}) })
}
