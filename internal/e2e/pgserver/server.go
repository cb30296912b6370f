//go:build unix

// Package pgserver runs a private PostgreSQL server that tests may break: it is
// restarted without warning, and so runs with fsync as a real one does. It
// listens on a unix socket in a temporary directory and nowhere else.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// ErrNone says that no PostgreSQL is installed here.
var ErrNone = errors.New("pgserver: no initdb in PATH or in /usr/lib/postgresql")

const settings = "-c listen_addresses= -c max_connections=300 -c shared_buffers=128MB -c max_wal_size=2GB -c autovacuum_naptime=5s"

// Server is a running server.
type Server struct {
	bin   string // directory of its programs
	dir   string // socket, data and log
	guard io.Closer
}

// Start makes a database cluster and starts a server on it. Its superuser is
// postgres, without a password.
func Start(ctx context.Context) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hookpost-pg") // short: the path of a socket is limited
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// programs returns the directory of PostgreSQL's programs, the newest if there are
// several.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
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

func (s *Server) start(ctx context.Context) error {
	if uid, gid, other, err := owner(); err != nil {
		return err
	} else if other {
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	if err := s.run(ctx, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}

	// The server outlives its starter. This process ends it when the pipe is closed,
	// which happens in any case when the tests have ended.
	guard := s.command(context.WithoutCancel(ctx), "sh", "-c", `cat; exec "$0" stop -D "$1" -m immediate >/dev/null 2>&1`, filepath.Join(s.bin, "pg_ctl"), s.data())
	pipe, err := guard.StdinPipe()
	if err != nil {
		return err
	}
	if err := guard.Start(); err != nil {
		return err
	}
	s.guard = closer(func() error {
		_ = pipe.Close()
		_ = guard.Wait() // pg_ctl fails if the server has ended already
		return nil
	})
	return s.control(ctx, "start")
}

type closer func() error

func (f closer) Close() error { return f() }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Restart is pg_ctl restart -m immediate: every connection is cut, and the server
// recovers from its log as after a crash. It returns when it takes connections.
func (s *Server) Restart(ctx context.Context) error {
	return s.control(ctx, "restart", "-m", "immediate")
}

func (s *Server) control(ctx context.Context, args ...string) error {
	args = append(args, "-w", "-t", "60", "-D", s.data(), "-l", filepath.Join(s.dir, "log"), "-o", settings+" -k "+s.dir)
	err := s.run(ctx, "pg_ctl", args...)
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("%w\n%s", err, text[max(0, len(text)-4000):])
	}
	return nil
}

// Stop ends the server and removes what it wrote.
func (s *Server) Stop() error {
	if s.guard != nil {
		_ = s.guard.Close()
	}
	return os.RemoveAll(s.dir)
}

// DSN connects to a database of the server's as its superuser.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s", s.dir, database)
}

// Exec runs statements in a database, each by itself, in a session of their own.
func (s *Server) Exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, text := range statements {
		if _, err := conn.Exec(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
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
	cmd := s.command(ctx, filepath.Join(s.bin, program), args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", program, err, text)
	}
	return nil
}

// command is run by the user postgres if this is root, whom PostgreSQL refuses.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	if uid, gid, other, err := owner(); err == nil && other {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd
}

// owner says who the server runs as, if that is somebody other than ourselves.
func owner() (uid, gid int, other bool, err error) {
	if os.Getuid() != 0 {
		return 0, 0, false, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, false, fmt.Errorf("pgserver: initdb refuses root, and: %w", err)
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, false, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, true, err
}
