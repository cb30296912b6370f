//go:build unix

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// Bouncer is a private PgBouncer in transaction mode. It listens on a unix socket in
// a temporary directory and nowhere else.
type Bouncer struct {
	program string
	dir     string // socket, settings and log
	guard   io.Closer
}

const bouncerPort = 6432 // part of the socket's name

// StartBouncer starts a PgBouncer in front of a server. Each transaction goes to
// another of its connections than the one before, so that nothing that is kept in a
// connection is found again. It ends with Stop, or else with this process.
//
// prepared is PgBouncer's max_prepared_statements; with 0 it follows no prepared
// statements. StartBouncer returns [ErrNoBouncer] if PgBouncer is not installed, and
// [ErrOldBouncer] if it is too old for prepared.
func StartBouncer(ctx context.Context, to Upstream, prepared int) (*Bouncer, error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // not in everybody's PATH
		if _, err := os.Stat(program); err != nil {
			return nil, ErrNoBouncer
		}
	}
	follows, err := bouncerFollows(ctx, program)
	switch {
	case err != nil:
		return nil, err
	case prepared > 0 && !follows:
		return nil, ErrOldBouncer
	}
	dir, err := temporary()
	if err != nil {
		return nil, err
	}
	b := &Bouncer{program: program, dir: dir}
	settings := b.settings(to)
	if follows {
		settings += fmt.Sprintf("max_prepared_statements = %d\n", prepared)
	}
	if err = os.WriteFile(b.ini(), []byte(settings), 0o644); err == nil {
		err = b.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

// bouncerFollows reports whether PgBouncer has the setting max_prepared_statements,
// which came with 1.21.
func bouncerFollows(ctx context.Context, program string) (bool, error) {
	text, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return false, fmt.Errorf("pgserver: pgbouncer --version: %w", err)
	}
	m := regexp.MustCompile(`^PgBouncer (\d+)\.(\d+)`).FindSubmatch(text)
	if m == nil {
		return false, fmt.Errorf("pgserver: pgbouncer --version says %q", text)
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	return major > 1 || minor >= 21, nil
}

func (b *Bouncer) ini() string { return filepath.Join(b.dir, "pgbouncer.ini") }

func (b *Bouncer) settings(to Upstream) string {
	database := fmt.Sprintf("* = host=%s port=%d user=%s", to.Host, to.Port, to.User)
	if to.Password != "" {
		database += " password=" + to.Password
	}
	return fmt.Sprintf(`[databases]
%s
[pgbouncer]
listen_port = %d
unix_socket_dir = %s
auth_type = any
pool_mode = transaction
server_round_robin = 1
default_pool_size = 40
max_client_conn = 500
`, database, bouncerPort, b.dir)
}

func (b *Bouncer) log() string { return filepath.Join(b.dir, "log") }

// start runs PgBouncer until the guard is closed, and returns when it takes
// connections.
func (b *Bouncer) start(ctx context.Context) error {
	var err error
	if b.guard, err = guard(`trap "" INT TERM HUP; "$0" "$1" >"$2" 2>&1 & cat; kill -9 $!; wait`, b.program, b.ini(), b.log()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("unix", filepath.Join(b.dir, fmt.Sprintf(".s.PGSQL.%d", bouncerPort)))
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			text, _ := os.ReadFile(b.log())
			return fmt.Errorf("pgserver: pgbouncer takes no connections: %w\n%s", err, text)
		}
	}
}

// DSN connects to a database of the server's through PgBouncer.
func (b *Bouncer) DSN(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", b.dir, bouncerPort, database)
}

// Restart cuts all connections. It returns when PgBouncer takes new ones.
func (b *Bouncer) Restart(ctx context.Context) error {
	_ = b.guard.Close()
	return b.start(ctx)
}

// Stop cuts all connections and ends PgBouncer.
func (b *Bouncer) Stop() error {
	if b.guard != nil {
		_ = b.guard.Close()
	}
	return os.RemoveAll(b.dir)
}
