//go:build unix

// Package pgserver finds or starts a PostgreSQL server for tests. It needs no
// driver, only PostgreSQL's own programs, so that every module can use it.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// Server is a private server that was started here. It listens on a unix socket
// in a temporary directory and nowhere else.
type Server struct {
	bin      string // directory of its programs
	dir      string // socket, data and log
	settings []string
	guard    io.Closer
}

// Start makes a database cluster and starts a server on it, with the settings in
// the form "name=value" of postgresql.conf. Its superuser is postgres, without a
// password. It ends with Stop, or else with this process.
//
// Without settings it is as durable as a real one; tests that don't crash it save
// time with "fsync=off". Start returns [ErrNone] if PostgreSQL is not installed.
func Start(ctx context.Context, settings ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := temporary()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, settings: append([]string{
		"max_connections=300", "shared_buffers=128MB", "max_wal_size=2GB",
	}, settings...)}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// programs returns the directory of PostgreSQL's programs, the newest if there are
// several.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// It may be a link, and not all programs be linked.
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrNone
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) })), nil
}

// major is the version in /usr/lib/postgresql/15/bin/initdb.
func major(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// temporary makes a directory of the servers' account.
func temporary() (string, error) {
	account, err := unprivileged()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "hookpost-pg") // short: the path of a socket is limited
	if err != nil || account == nil {
		return dir, err
	}
	return dir, os.Chown(dir, int(account.Uid), int(account.Gid))
}

func (s *Server) start(ctx context.Context) error {
	if err := s.run(ctx, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
	return s.startGuarded(ctx)
}

// startGuarded starts the server on the cluster that is there.
func (s *Server) startGuarded(ctx context.Context) (err error) {
	s.guard, err = guard(`trap "" INT TERM HUP; cat; exec "$0" stop -D "$1" -m immediate >/dev/null 2>&1`,
		filepath.Join(s.bin, "pg_ctl"), s.data())
	if err != nil {
		return err
	}
	return s.control(ctx, "start")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// DSN connects to a database of the server's as its superuser. The database
// "postgres" is always there.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s", s.dir, database)
}

// Restart is pg_ctl restart -m immediate: every connection is cut, and the server
// recovers from its log as after a crash. It returns when it takes connections.
func (s *Server) Restart(ctx context.Context) error {
	return s.control(ctx, "restart", "-m", "immediate")
}

// Stop ends the server and removes what it wrote.
func (s *Server) Stop() error {
	if s.guard != nil {
		_ = s.guard.Close()
	}
	return os.RemoveAll(s.dir)
}

// control runs pg_ctl and waits until it has done its work.
func (s *Server) control(ctx context.Context, action string, args ...string) error {
	log := filepath.Join(s.dir, "log")
	options := ""
	for _, setting := range append([]string{"listen_addresses=", "unix_socket_directories=" + s.dir}, s.settings...) {
		options += " -c '" + setting + "'"
	}
	args = append([]string{action, "-w", "-t", "60", "-D", s.data(), "-l", log, "-o", options}, args...)
	if err := s.run(ctx, "pg_ctl", args...); err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%w\n%s", err, text[max(0, len(text)-4000):])
	}
	return nil
}

// run runs one of PostgreSQL's programs. Its output goes to a file, since the
// server keeps open what pg_ctl has.
func (s *Server) run(ctx context.Context, program string, args ...string) error {
	out, err := os.Create(filepath.Join(s.dir, program+".out"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd, err := command(ctx, filepath.Join(s.bin, program), args...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("pgserver: %s: %w: %s", program, err, text)
	}
	return nil
}
