//go:build unix

package pgserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// Standby makes a copy of the server and starts it as a hot standby, which takes
// over every change by streaming replication and lets nobody else write. Its name in
// synchronous_standby_names is "standby". Standby returns [ErrNoBackup] if these programs
// of PostgreSQL's are the server's alone.
func (s *Server) Standby(ctx context.Context) (*Server, error) {
	if _, err := os.Stat(filepath.Join(s.bin, "pg_basebackup")); err != nil {
		return nil, ErrNoBackup
	}
	dir, err := temporary()
	if err != nil {
		return nil, err
	}
	b := &Server{bin: s.bin, dir: dir, settings: s.settings}
	err = b.run(ctx, "pg_basebackup", "-D", b.data(), "-d", s.DSN("postgres")+" application_name=standby",
		"--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	if err == nil {
		err = b.startGuarded(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

// Promote makes a standby a server that can be written to. It returns when it can.
func (s *Server) Promote(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "promote", "-w", "-t", "60", "-D", s.data())
}
