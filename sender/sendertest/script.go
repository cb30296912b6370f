package sendertest

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Answer is what a receiver does with a request. The zero Answer is an empty 200
// at once.
type Answer struct {
	Status int         // default 200
	Header http.Header // added to the answer's
	Body   string
	Delay  time.Duration // before answering
	Fault  Fault
}

// Fault is a way of not answering.
type Fault uint8

// The faults. They come after Answer.Delay.
const (
	NoFault Fault = iota
	Close         // close the connection without an answer
	Reset         // the same, with a TCP reset
	Hang          // do nothing until the sender gives up or the test ends
)

// Status returns the empty answer with this status.
func Status(code int) Answer { return Answer{Status: code} }

func (a *Answer) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

// Request is a request as it arrived.
type Request struct {
	Method string
	URL    string // of a Receiver: path and query; of a Transport: all of it
	Host   string
	Header http.Header
	Body   []byte
	At     time.Time // when it was complete
}

// script hands out answers and records requests.
type script struct {
	mu       sync.Mutex
	answers  []Answer
	next     int
	requests []Request
	arrived  chan struct{} // closed by the next request; nil while nobody waits
}

func newScript(answers []Answer) *script {
	return &script{answers: slices.Clone(answers)}
}

// take records a request and returns its answer.
func (s *script) take(r Request) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	if s.arrived != nil {
		close(s.arrived)
		s.arrived = nil
	}
	if len(s.answers) == 0 {
		return Answer{}
	}
	a := s.answers[min(s.next, len(s.answers)-1)]
	s.next++
	return a
}

// Script replaces the answers to all further requests.
func (s *script) Script(answers ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.next = slices.Clone(answers), 0
}

// Requests returns the requests so far, in the order in which they arrived.
func (s *script) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count returns how many requests have arrived.
func (s *script) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// wait returns once there are n requests, or when the time is over.
func (s *script) wait(n int, limit time.Duration) []Request {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		s.mu.Lock()
		if s.arrived == nil {
			s.arrived = make(chan struct{})
		}
		requests, arrived := slices.Clone(s.requests), s.arrived
		s.mu.Unlock()
		if len(requests) >= n {
			return requests
		}
		select {
		case <-arrived:
		case <-timer.C:
			return requests
		}
	}
}
