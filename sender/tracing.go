package sender

import (
	"maps"
	"strings"
)

// withTrace returns a destination whose requests carry a trace context, given in
// the form of store.Event.Trace, in the headers of W3C Trace Context.
func (d *destination) withTrace(trace string) *destination {
	parent, state, _ := strings.Cut(trace, " ")
	if parent == "" {
		return d
	}
	traced, request := *d, *d.request
	request.Header = maps.Clone(request.Header)
	request.Header["Traceparent"] = []string{parent}
	if state != "" {
		request.Header["Tracestate"] = []string{state}
	}
	traced.request = &request
	return &traced
}
