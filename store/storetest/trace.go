package storetest

import (
	"strings"

	"github.com/hookpost/hookpost/store"
)

func traceChecks() []check {
	return []check{
		{"TraceContext", "an event's trace context is kept, comes with every claim of it, and is no part of what makes two events the same", traceContext},
		{"TxTraceContext", "an event stored in a transaction keeps its trace context", inTx(txTraceContext)},
	}
}

const someTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 vendor=a b,other=\"1\""

// wantTrace reports an event of which the log or a claim tells another trace
// context. It claims and settles everything.
func (w *world) wantTrace(ev store.NewEvent, want string) {
	w.Helper()
	got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event")
	if got.Trace != want {
		w.Errorf("event %s has the trace context %q in the log, want %q", ev.ID, got.Trace, want)
	}
	found := false
	for _, c := range w.claimAll() {
		if c.EventID == ev.ID {
			found = true
			if c.Trace != want {
				w.Errorf("a claim of event %s has the trace context %q, want %q", ev.ID, c.Trace, want)
			}
		}
		w.accepted(success(c))
	}
	if !found {
		w.Errorf("no claim found a delivery of %s", ev.ID)
	}
}

func traceContext(w *world) {
	ep := w.endpoint()
	traced, plain := w.newEvent(ep), w.newEvent(ep)
	traced.Trace = someTrace
	w.store(traced, plain)
	again := traced
	again.Trace = strings.Replace(someTrace, "01", "00", 1)
	if got := w.enqueue(again)[0]; got.Status != store.Duplicate {
		w.Errorf("an event sent again in another trace has status %d, want a duplicate", got.Status)
	}
	w.wantTrace(traced, someTrace)
	if _, err := w.st.Replay(w.ctx(), w.scope, plain.ID, ep.ID, store.ReplayParams{}); err != nil {
		w.Fatal(err)
	}
	w.wantTrace(plain, "")
	for _, ev := range w.events(store.EventQuery{}) {
		if want := map[string]string{traced.ID: someTrace}[ev.ID]; ev.Trace != want {
			w.Errorf("event %s is listed with the trace context %q, want %q", ev.ID, ev.Trace, want)
		}
	}
	for _, bad := range []string{strings.Repeat("x", store.MaxTrace+1), "a\x00b", "a\xff"} {
		ev := w.newEvent(ep)
		ev.Trace = bad
		_, err := w.st.Enqueue(w.ctx(), enqueueParams(ev))
		w.wantErr(err, store.ErrInvalid, "Enqueue with the trace context %.20q", bad)
	}
}

func txTraceContext(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	ev.Trace = someTrace
	tx := w.begin()
	w.enqueueIn(tx, ev)
	w.must(tx.Commit(), "Commit")
	w.wantTrace(ev, someTrace)
}
