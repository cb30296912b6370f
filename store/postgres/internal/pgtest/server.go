// Package pgtest finds or starts a PostgreSQL server for tests.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnvDSN names the variable with the DSN of a server to use. Its role must be
// allowed to create schemas and roles.
const EnvDSN = "HOOKPOST_TEST_POSTGRES"

// Server is a PostgreSQL server.
type Server struct {
	// DSN connects to it, as a superuser if it was started here.
	DSN string

	dir  string // "" if it was not started here
	proc *exec.Cmd
}

var errNone = errors.New(EnvDSN + " is not set and no initdb was found in PATH or /usr/lib/postgresql")

// Main runs the tests of a package with a server: the one that HOOKPOST_TEST_POSTGRES
// names, or else a private one in a temporary directory, which listens on a unix
// socket only. Where there is neither, the tests are skipped with one line, or fail
// if CI=true. use receives the server before tests run.
func Main(m *testing.M, use func(*Server)) (exitCode int) {
	s, err := Start()
	switch {
	case errors.Is(err, errNone) && os.Getenv("CI") != "true":
		fmt.Println("SKIP: no PostgreSQL for these tests:", err)
		return 0
	case err != nil:
		fmt.Println("FAIL: no PostgreSQL for these tests:", err)
		return 1
	}
	defer s.Stop()
	use(s)
	return m.Run()
}

// Start returns a server that can be connected to.
func Start() (*Server, error) {
	if dsn := os.Getenv(EnvDSN); dsn != "" {
		s := &Server{DSN: dsn}
		return s, s.wait(10 * time.Second)
	}
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hookpost-pg")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(bin); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// binaries returns the directory of PostgreSQL's programs.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errNone
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

func (s *Server) start(bin string) error {
	if err := s.handOver(); err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	unprivileged(initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	logFile, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	// Nothing is crashed here, so nothing waits for the disk.
	s.proc = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", s.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB")
	s.proc.Stdout, s.proc.Stderr = logFile, logFile
	unprivileged(s.proc)
	if err := s.proc.Start(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	s.DSN = "host=" + s.dir + " user=postgres dbname=postgres"
	if err := s.wait(30 * time.Second); err != nil {
		out, _ := os.ReadFile(logFile.Name())
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// wait waits until the server takes connections.
func (s *Server) wait(most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends a server that was started here and removes what it wrote.
func (s *Server) Stop() {
	if s.dir == "" {
		return
	}
	if s.proc != nil && s.proc.Process != nil {
		_ = s.proc.Process.Signal(os.Interrupt) // fast shutdown
		_ = s.proc.Wait()
	}
	_ = os.RemoveAll(s.dir)
}
