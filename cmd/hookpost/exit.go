package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// The exit statuses.
const (
	exitOK          = 0
	exitNo          = 1   // the answer is no
	exitBadInput    = 2   // what was asked for can't be done as it stands
	exitTrouble     = 3   // the store or the network
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// An exitError is an error with its exit status. Without a text the output has said
// it all.
type exitError struct {
	status int
	text   string
}

func (e *exitError) Error() string { return e.text }

func badInput(format string, args ...any) error {
	return &exitError{exitBadInput, fmt.Sprintf(format, args...)}
}

// refused says that what was asked for is not so, or may not be.
func refused(format string, args ...any) error {
	return &exitError{exitNo, fmt.Sprintf(format, args...)}
}

func trouble(format string, args ...any) error {
	return &exitError{exitTrouble, fmt.Sprintf(format, args...)}
}

// saidNo is for when the output has told what failed.
var saidNo = &exitError{status: exitNo}

// report prints the error in one line and returns the exit status.
func report(ctx context.Context, w io.Writer, name string, err error) int {
	if err == nil {
		return exitOK
	}
	status, text := judge(ctx, err)
	if text != "" {
		if name != "" {
			name = " " + name
		}
		fmt.Fprintf(w, "hookpost%s: %s\n", name, oneLine(text))
	}
	return status
}

// judge returns the exit status for an error, and the error in the words of this
// program.
func judge(ctx context.Context, err error) (int, string) {
	var own *exitError
	var event *sender.EventError
	var endpoint *sender.EndpointError
	var url *sender.URLError
	switch {
	case errors.As(err, &own):
		return own.status, own.text
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted, "interrupted"
	case errors.As(err, &event):
		return exitBadInput, flagOf(event.Field) + " " + event.Problem
	case errors.As(err, &endpoint) && endpoint.Field == "Secret":
		return exitBadInput, "the secret can't be used: " + plain(errors.New(endpoint.Problem))
	case errors.As(err, &endpoint):
		return exitBadInput, flagOf(endpoint.Field) + " " + endpoint.Problem
	case errors.As(err, &url):
		return exitBadInput, strings.TrimPrefix(url.Error(), "sender: endpoint ")
	case is(err, sender.ErrInvalidSelection, sender.ErrInvalidOptions, store.ErrInvalid,
		signing.ErrBadSecret, signing.ErrBadScheme, keyring.ErrInvalidKey):
		return exitBadInput, plain(err)
	case is(err, store.ErrNotFound, store.ErrConflict, store.ErrDuplicateURL, store.ErrChanged, store.ErrDisabled,
		store.ErrDeleted, store.ErrErased, store.ErrFinished):
		return exitNo, plain(err)
	case errors.Is(err, store.ErrNotMigrated):
		return exitTrouble, "the store has no tables of this version; hookpost migrate makes them"
	}
	return exitTrouble, plain(err)
}

func is(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// flagOf names the flag that sets a field of the library's.
func flagOf(field string) string {
	switch field {
	case "EventTypes":
		return "--events"
	case "ContentType":
		return "--content-type"
	case "Refs":
		return "--ref"
	case "Schemes":
		return "--scheme"
	}
	return "--" + strings.ToLower(field)
}

// plain removes the names of packages from an error's text.
func plain(err error) string {
	text := err.Error()
	for _, pkg := range []string{"sender: ", "store: ", "signing: ", "keyring: ", "sqlite: ", "postgres: ", "verifier: "} {
		text = strings.ReplaceAll(text, pkg, "")
	}
	return text
}
