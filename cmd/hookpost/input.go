package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// What is read from a file or the standard input is bounded, in bytes. Bodies are more
// than any limit of the library's.
const (
	maxInput  = 64 << 20
	maxHeader = 1 << 20 // of headers
	maxSecret = 1 << 20 // of secrets or keys
)

// read returns the content of a file, or of the standard input for "-" and "", of at
// most so many bytes.
func (c *call) read(ctx context.Context, name string, most int) ([]byte, error) {
	return c.readAs(ctx, name, "the file "+name, most)
}

// readAs is read with what errors call the file.
func (c *call) readAs(ctx context.Context, name, called string, most int) ([]byte, error) {
	if name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(called, err)
		}
		defer f.Close()
		return readAll(f, called, most)
	}
	if c.stdin == nil {
		return nil, badInput("the standard input was read already; name a file")
	}
	in := c.stdin
	c.stdin = nil
	if onTerminal(in) {
		fmt.Fprintln(c.stderr, "Reading the terminal; Ctrl-D on an empty line ends the input.")
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := readAll(in, "the standard input", most)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func readAll(r io.Reader, called string, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case err != nil:
		return nil, fileError(called, err)
	case len(data) > most:
		return nil, badInput("%s has more than %d MiB", called, most>>20)
	}
	return data, nil
}

// fileError says what is wrong with a file.
func fileError(called string, err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return badInput("%s does not exist", called)
	case errors.Is(err, fs.ErrPermission):
		return badInput("%s may not be read", called)
	case errors.As(err, &path):
		err = path.Err
	}
	return badInput("%s can't be read: %v", called, err)
}
