package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxInput bounds what is read from a file or the standard input, in bytes. It is
// more than any limit of the library's.
const maxInput = 64 << 20

// read returns the content of a file, or of the standard input for "-" and "".
func (c *call) read(ctx context.Context, name string) ([]byte, error) {
	if name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(name, err)
		}
		defer f.Close()
		return readAll(f, name)
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
		data, err := readAll(in, "the standard input")
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func readAll(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return nil, fileError(name, err)
	case len(data) > maxInput:
		return nil, badInput("%s has more than %d MiB", name, maxInput>>20)
	}
	return data, nil
}

// fileError says what is wrong with a file.
func fileError(name string, err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return badInput("the file %s does not exist", name)
	case errors.Is(err, fs.ErrPermission):
		return badInput("the file %s may not be read", name)
	case errors.As(err, &path):
		err = path.Err
	}
	return badInput("%s can't be read: %v", name, err)
}
