package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// valueFlag declares a flag whose text parse turns into a value. The error of parse
// says what would be right. It may be given once: of two values one would be lost in
// silence, where others of the flags make a list.
func valueFlag[T any](fs *flag.FlagSet, p *T, name, usage string, parse func(string) (T, error)) {
	given := false
	fs.Func(name, usage, func(s string) error {
		v, err := parse(s)
		if err != nil {
			return err
		}
		if given {
			return errTwice
		}
		*p, given = v, true
		return nil
	})
}

var errTwice = errors.New("stands there twice; this flag takes one value")

// listFlag declares a flag that may be given several times.
func listFlag[T any](fs *flag.FlagSet, p *[]T, name, usage string, parse func(string) (T, error)) {
	fs.Func(name, usage, func(s string) error {
		v, err := parse(s)
		if err == nil {
			*p = append(*p, v)
		}
		return err
	})
}

func boolFlag(fs *flag.FlagSet, p *bool, name, usage string) {
	fs.BoolFunc(name, usage, func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return errors.New("want true or false, or no value")
		}
		return nil
	})
}

func textFlag(fs *flag.FlagSet, p *string, name, usage string) {
	valueFlag(fs, p, name, usage, notEmpty)
}

// anyTextFlag is textFlag for text that may be empty.
func anyTextFlag(fs *flag.FlagSet, p *string, name, usage string) {
	valueFlag(fs, p, name, usage, func(s string) (string, error) { return s, nil })
}

func notEmpty(s string) (string, error) {
	if s == "" {
		return "", errors.New("want something that is not empty")
	}
	return s, nil
}

// count parses a number from least to most.
func count(least, most int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("want a whole number from %d to %d", least, most)
		}
		return n, nil
	}
}

// parseDuration reads what time.ParseDuration does, and whole days such as 7d.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if text, ok := strings.CutSuffix(s, "d"); ok {
		var days int
		days, err = strconv.Atoi(text)
		if d = time.Duration(days) * 24 * time.Hour; err == nil && d/(24*time.Hour) != time.Duration(days) {
			err = strconv.ErrRange
		}
	}
	if err != nil || d < 0 {
		return 0, errors.New("want a duration such as 30s, 5m, 12h or 7d")
	}
	return d, nil
}

func positiveDuration(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err == nil && d == 0 {
		err = errors.New("want a duration above 0, such as 30s or 5m")
	}
	return d, err
}

// parseTime reads a time: RFC 3339, a date in UTC, Unix seconds, or how long ago.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	if sec, err := strconv.ParseInt(s, 10, 64); err == nil && sec >= 0 && sec < 1<<37 {
		return time.Unix(sec, 0), nil
	}
	if d, err := parseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, errors.New("want a time such as 2026-05-24T10:02:14Z, a date such as 2026-05-24, Unix seconds, or how long ago such as 90m or 7d")
}

func parseMode(s string) (store.Mode, error) {
	m, err := store.ParseMode(s)
	if err != nil {
		return 0, errors.New("want live or test")
	}
	return m, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.Prefix{}, errors.New("want an address or a prefix such as 10.0.0.0/8")
}

// flagError puts an error of package flag into the words of this program.
func (c *call) flagError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := err.Error()
	more := "; hookpost " + c.command.name + " -h lists the flags"
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		if name == "secret" || name == "key" || name == "keys" {
			return badInput("there is no flag --%s: a secret on the command line could be read by everybody; "+
				"set HOOKPOST_SECRET or HOOKPOST_KEYS, or name a file%s", name, more)
		}
		return badInput("there is no flag --%s%s", name, more)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return badInput("--%s needs a value%s", name, more)
	}
	for _, kind := range []string{"invalid value ", "invalid boolean value "} {
		if rest, ok := strings.CutPrefix(text, kind); ok {
			value, reason, found := strings.Cut(rest, " for flag -")
			if !found {
				value, reason, found = strings.Cut(rest, " for -")
			}
			name, want, _ := strings.Cut(reason, ": ")
			if found && want == errTwice.Error() {
				return badInput("--%s %s", name, want) // the value may be a DSN with a password
			}
			if found {
				return badInput("--%s %.200s: %s", name, value, want)
			}
		}
	}
	return badInput("%s%s", text, more)
}
