// Hookpost is hookpost on the command line: it signs, verifies, sends and receives
// single webhooks, and reads and changes what an application keeps in its store.
//
//	hookpost listen                        # in one terminal
//	hookpost send http://localhost:8080 …  # in another
//
// hookpost -h lists the commands, hookpost COMMAND -h explains one. The exit status
// is 0 if all went well, 1 if the answer is no (a signature that does not match, a
// receiver that refused, an endpoint that does not exist), 2 for bad input, 3 for
// trouble with the store or the network, and 130 after Ctrl-C.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C ends the program at once
	}()
	os.Exit(run(ctx, os.Args[1:], surroundings{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		getenv: os.Getenv,
	}))
}

// surroundings is what a command reads from and writes to.
type surroundings struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}
