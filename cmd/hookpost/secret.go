package main

import (
	"context"
	"strings"

	"github.com/hookpost/hookpost/signing"
)

const envSecret = "HOOKPOST_SECRET"

// A secretSource says where signing secrets are read from: never from the command
// line, which everybody on the machine can see.
type secretSource struct {
	env, file string
}

func (c *call) secretFlags() *secretSource {
	s := &secretSource{}
	textFlag(c.flags, &s.env, "secret-env", "the `VARIABLE` that holds the secrets ("+envSecret+"), one a line, newest first")
	textFlag(c.flags, &s.file, "secret-file", "the `FILE` that holds them instead; - is the standard input")
	return s
}

func (s *secretSource) given() bool { return s.env != "" || s.file != "" }

// secrets reads the secrets, newest first; there is at least one.
func (c *call) secrets(ctx context.Context, s *secretSource) ([]signing.Secret, error) {
	text, where, err := c.confidential(ctx, s.env, s.file, "--secret-env", "--secret-file", envSecret)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, badInput("no secret: %s is empty; hookpost keys secret makes one", where)
	}
	var secrets []signing.Secret
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		secret, err := signing.ParseSecret(line)
		if err != nil {
			return nil, badInput("the secret in %s is not acceptable: %s", where, strings.TrimPrefix(plain(err), "bad secret: "))
		}
		secrets = append(secrets, secret)
	}
	switch {
	case len(secrets) == 0:
		return nil, badInput("no secret: %s is empty; hookpost keys secret makes one", where)
	case len(secrets) > signing.MaxSecrets:
		return nil, badInput("%s holds %d secrets; at most %d can be used at once", where, len(secrets), signing.MaxSecrets)
	}
	return secrets, nil
}

// confidential returns the text of a variable or file, and where it was found. Neither
// that nor an error repeats a name that was given: it may be the secret itself, as in
// --secret-env "$SECRET".
func (c *call) confidential(ctx context.Context, env, file, envFlag, fileFlag, envDefault string) (text, where string, err error) {
	switch {
	case env != "" && file != "":
		return "", "", badInput("%s and %s contradict each other; give one of them", envFlag, fileFlag)
	case file == "-":
		data, err := c.read(ctx, "-", maxSecret)
		return string(data), "the standard input", err
	case file != "":
		data, err := c.readAs(ctx, file, "the file of "+fileFlag, maxSecret)
		return string(data), "the file of " + fileFlag, err
	case env != "":
		return c.getenv(env), "the variable that " + envFlag + " names", nil
	}
	return c.getenv(envDefault), "the variable " + envDefault, nil
}

// bind makes a key of the secrets, in the scheme.
func bind(scheme signing.Scheme, secrets []signing.Secret) (signing.Key, error) {
	key, err := scheme.Bind(secrets...)
	if err != nil {
		return nil, badInput("the scheme %s can't use this secret: %s", scheme.Name(), strings.TrimPrefix(plain(err), "bad secret: "))
	}
	return key, nil
}
