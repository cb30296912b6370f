package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const scriptUsage = "answer by a `SCRIPT` such as 503,503,200: one answer a request, and the last " +
	"again and again. An answer is a status from 200 to 599, a status and how long " +
	"to come back later (429:30s), hang (no answer) or close (end the connection)"

// A reply is one answer of a script.
type reply struct {
	status     int           // 0: none
	retryAfter time.Duration // 0: not said
	hang       bool          // else, without a status, the connection is closed
}

func (r reply) String() string {
	switch {
	case r.hang:
		return "hang"
	case r.status == 0:
		return "close"
	}
	return strconv.Itoa(r.status)
}

func (r reply) succeeds() bool { return r.status/100 == 2 }

// A script decides what each request is answered. It is safe for concurrent use.
type script struct {
	mu      sync.Mutex
	replies []reply
}

var errScript = errors.New("want answers such as 503,503,200: statuses from 200 to 599, 429:30s, hang or close")

func parseScript(s string) (*script, error) {
	var sc script
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		switch part {
		case "hang":
			sc.replies = append(sc.replies, reply{hang: true})
			continue
		case "close":
			sc.replies = append(sc.replies, reply{})
			continue
		}
		status, pause, paused := strings.Cut(part, ":")
		var r reply
		var err error
		if r.status, err = strconv.Atoi(status); err != nil || len(status) != 3 || r.status < 200 || r.status > 599 {
			return nil, errScript
		}
		if paused {
			if r.retryAfter, err = positiveDuration(pause); err != nil || r.retryAfter%time.Second != 0 {
				return nil, errors.New("want whole seconds behind the colon, as in 429:30s")
			}
		}
		sc.replies = append(sc.replies, r)
	}
	return &sc, nil
}

// next returns the answer to the next request.
func (s *script) next() reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replies[0]
	if len(s.replies) > 1 {
		s.replies = s.replies[1:]
	}
	return r
}

// give answers a request as the script says. stop ends hanging.
func (r reply) give(w http.ResponseWriter, req *http.Request, stop context.Context) {
	switch {
	case r.hang:
		select {
		case <-req.Context().Done():
		case <-stop.Done():
		}
		panic(http.ErrAbortHandler)
	case r.status == 0:
		panic(http.ErrAbortHandler)
	}
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(r.retryAfter/time.Second)))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(r.status)
	if r.status != http.StatusNoContent && r.status != http.StatusNotModified {
		fmt.Fprintln(w, http.StatusText(r.status))
	}
}
