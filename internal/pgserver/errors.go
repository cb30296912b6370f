package pgserver

import "errors"

// Why there is nothing to test with.
var (
	ErrNone       = errors.New("pgserver: no initdb in PATH or in /usr/lib/postgresql")
	ErrNoBackup   = errors.New("pgserver: no pg_basebackup beside initdb, which standbys need")
	ErrNoBouncer  = errors.New("pgserver: no pgbouncer in PATH or in /usr/sbin")
	ErrOldBouncer = errors.New("pgserver: this pgbouncer is older than 1.21 and follows no prepared statements")
)

// Upstream is the server that a [Bouncer] connects to, and the role it does so as,
// whatever role its clients name.
type Upstream struct {
	Host           string // or the directory of a unix socket
	Port           uint16
	User, Password string
}
