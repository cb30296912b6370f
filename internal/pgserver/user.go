//go:build unix

package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// unprivileged returns the account of postgres if this process is root's, whom
// PostgreSQL refuses, else nil.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("pgserver: PostgreSQL refuses to run as root, and: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// command runs as the account that servers do.
func command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	account, err := unprivileged()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/" // the account may not be allowed to be where we are
	if account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	}
	return cmd, nil
}
