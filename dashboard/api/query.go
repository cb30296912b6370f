package api

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	defaultLimit = 50
	maxLimit     = 100
	// lookRows bounds how much of the log a page looks through for what its filters
	// let pass.
	lookRows = 1000
	// maxParameters is how many a request may have.
	maxParameters = 50
)

// query are the parameters of a request, all of them known to its operation.
type query struct{ values url.Values }

// paramFault refuses a parameter.
func paramFault(name, detail string) *problem {
	return problemOf(badQuery, "", fault{Parameter: name, Detail: detail})
}

// readQuery reads the parameters and refuses those that are not known. Only state can
// be there more than once.
func (c *call) readQuery(known []string) error {
	raw := c.r.URL.RawQuery
	if strings.Count(raw, "&") >= maxParameters {
		return problemOf(badQuery, fmt.Sprintf("the query has more than %d parameters", maxParameters))
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return problemOf(badQuery, "the query can't be read; it is name=value, percent-encoded, joined by &")
	}
	var faults []fault
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if text := paramProblem(known, name, values[name]); text != "" && len(faults) < maxFaults {
			faults = append(faults, fault{Parameter: shortName(name), Detail: text})
		}
	}
	c.query = query{values}
	return refused(badQuery, faults)
}

// paramProblem says what is wrong with a parameter, whatever its operation wants of it.
func paramProblem(known []string, name string, list []string) string {
	switch {
	case !slices.Contains(known, name) && len(known) == 0:
		return "is not a parameter here; there are none"
	case !slices.Contains(known, name):
		return "is not a parameter here; they are " + strings.Join(known, ", ")
	case len(list) > 1 && name != "state":
		return "is there more than once"
	case !store.IsText(strings.Join(list, "")):
		return "is not UTF-8 without NUL"
	}
	return ""
}

// text returns a parameter, empty if it is not there.
func (q query) text(name string) string { return q.values.Get(name) }

// number returns a parameter from 1 to most, or its default.
func (q query) number(name string, otherwise, most int) (int, error) {
	text := q.text(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, paramFault(name, fmt.Sprintf("is not a whole number from 1 to %d", most))
	}
	return n, nil
}

// time returns a parameter, zero if it is not there.
func (q query) time(name string) (time.Time, error) {
	text := q.text(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, paramFault(name, "is not a time such as 2026-05-24T10:02:14Z")
	}
	return t, nil
}

// window returns from and to.
func (q query) window() (from, to time.Time, err error) {
	if from, err = q.time("from"); err != nil {
		return from, to, err
	}
	to, err = q.time("to")
	return from, to, err
}

// states parses the state parameters, each of which is one of the names.
func states[S comparable](q query, parse func(string) (S, error), names string) (list []S, err error) {
	for _, name := range q.values["state"] {
		if name == "" {
			continue
		}
		s, err := parse(name)
		if err != nil {
			return nil, paramFault("state", "is none of "+names)
		}
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list, nil
}

// limit is how many elements a page may have.
func (c *call) limit() (int, error) { return c.query.number("limit", defaultLimit, maxLimit) }

// cursorOf returns the cursor to what comes after a position in a kind of list.
func cursorOf(kind, position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + ":" + position))
}

// cursor returns the position that the cursor parameter says, empty if there is none.
func (c *call) cursor(kind string) (string, error) {
	text := c.query.text("cursor")
	if text == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	got, position, _ := strings.Cut(string(b), ":")
	if err != nil || got != kind || position == "" {
		return "", wrongCursor()
	}
	return position, nil
}

// numberCursor is cursor for positions that are positive numbers, 0 if there is none.
func (c *call) numberCursor(kind string) (int64, error) {
	position, err := c.cursor(kind)
	if err != nil || position == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(position, 10, 64)
	if err != nil || n < 1 {
		return 0, wrongCursor()
	}
	return n, nil
}

func wrongCursor() error {
	return paramFault("cursor", "is not the next_cursor of a page of this list")
}
