//go:build unix

package pgserver

import (
	"context"
	"io"
)

// guard runs a shell script that ends a server when its input does. That happens
// with Close, which waits for the script, and in any case when this process has
// ended, however it did: the server would outlive it.
func guard(script string, args ...string) (io.Closer, error) {
	cmd, err := command(context.Background(), "sh", append([]string{"-c", script}, args...)...)
	if err != nil {
		return nil, err
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return closer(func() error {
		_ = pipe.Close()
		_ = cmd.Wait() // fails if the server has ended already
		return nil
	}), nil
}

type closer func() error

func (f closer) Close() error { return f() }
