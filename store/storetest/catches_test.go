package storetest_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/store/storetest"
)

// fault is a store that breaks one rule of the contract.
type fault struct {
	check string // the subtest that must find it
	make  func(store.Store) store.Store
}

var faults = map[string]fault{
	"release is charged":        {"ReleaseIsNotCharged", settling(func(s *store.Settlement) { chargeRelease(s) })},
	"quiet is ignored":          {"HealthQuiet", settling(func(s *store.Settlement) { s.Quiet = false })},
	"hold is ignored":           {"ClaimHold", settling(func(s *store.Settlement) { s.Hold = 0 })},
	"delay is ignored":          {"RetryWaits", settling(func(s *store.Settlement) { s.Delay = 0 })},
	"ago is ignored":            {"AttemptRoundTrip", settling(func(s *store.Settlement) { s.Ago = 0 })},
	"410 is ignored":            {"SettleDisables", settling(func(s *store.Settlement) { s.DisableVersion = 0 })},
	"failure outweighs success": {"EveryOrder", settling(func(s *store.Settlement) { failLate(s) })},
	"room is ignored":           {"ClaimRoom", claiming(func(p *store.ClaimParams) { p.Room, p.DefaultRoom = nil, 1000 })},
	"cursor is ignored":         {"ClaimOrder", claiming(func(p *store.ClaimParams) { p.After = 0 })},
	"budget is ignored":         {"ClaimBytes", claiming(func(p *store.ClaimParams) { p.Bytes = 0 })},
	"window is ignored":         {"EnableAfterWindow", claiming(func(p *store.ClaimParams) { p.Window = 1 << 62 })},
	"leases do not last":        {"OneLiveLease", claiming(func(p *store.ClaimParams) { p.Lease = 1 })},
	"stale set is accepted":     {"StaleEndpointSet", func(st store.Store) store.Store { return neverStale{st} }},
	"repeat is ignored":         {"RepeatedBatch", func(st store.Store) store.Store { return noRepeat{st} }},
	"modes mix":                 {"ScopesNeverMix", func(st store.Store) store.Store { return mixesModes{st} }},
	"steps have no bound":       {"StepsAreBounded", func(st store.Store) store.Store { return noLimit{st} }},
	"expire does nothing":       {"EnableAfterWindow", func(st store.Store) store.Store { return neverExpires{st} }},
	"dry run is wet":            {"RecoverSteps", func(st store.Store) store.Store { return wetRun{st} }},
	"context is ignored":        {"CancelledContext", func(st store.Store) store.Store { return noContext{st} }},
	"close is forgotten":        {"ClosedStore", func(st store.Store) store.Store { return neverCloses{st} }},
	"pages overlap":             {"DeliveryLog", func(st store.Store) store.Store { return overlaps{st} }},
	"reseal is undone":          {"ResealOutlivesEdits", func(st store.Store) store.Store { return undoesReseal{st} }},
	"trace is lost":             {"TraceContext", func(st store.Store) store.Store { return losesTrace{st} }},
	"backlog has no bound":      {"BacklogPages", func(st store.Store) store.Store { return countsAll{st} }},
	"body is changed":           {"EventRoundTrip", func(st store.Store) store.Store { return trimsBody{st} }},
}

// TestFaulty is the store with one fault under test. It is run by TestCatches,
// in a process of its own, and must fail.
func TestFaulty(t *testing.T) {
	f, ok := faults[os.Getenv("STORETEST_FAULT")]
	if !ok {
		t.Skip("run by TestCatches")
	}
	storetest.Run(t, func(*testing.T) storetest.Instance {
		c := &clock{}
		return storetest.Instance{Store: f.make(memory.NewWithClock(c.Now)), Advance: c.Advance}
	})
}

// TestCatches shows that the suite finds stores that break the contract.
func TestCatches(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(exe, "-test.run=^TestFaulty$/^"+f.check+"$")
			cmd.Env = append(os.Environ(), "STORETEST_FAULT="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte("--- FAIL: TestFaulty/"+f.check)) {
				t.Errorf("%s did not find a store whose fault is that %s (%v):\n%s", f.check, name, err, out)
			}
			if !bytes.Contains(out, []byte("The rule that ")) {
				t.Errorf("%s failed without saying which rule was broken:\n%s", f.check, out)
			}
		})
	}
}

type settler struct {
	store.Store
	change func(*store.Settlement)
}

func settling(change func(*store.Settlement)) func(store.Store) store.Store {
	return func(st store.Store) store.Store { return settler{st, change} }
}

func (s settler) Settle(ctx context.Context, ss []store.Settlement) ([]store.Settled, error) {
	changed := append([]store.Settlement(nil), ss...)
	for i := range changed {
		s.change(&changed[i])
	}
	return s.Store.Settle(ctx, changed)
}

func chargeRelease(s *store.Settlement) {
	if s.Verdict == store.Release {
		s.Verdict = store.Retry
	}
}

func failLate(s *store.Settlement) {
	if s.Verdict == store.Deliver && s.Attempt != nil && s.Attempt.N == 1 {
		s.Verdict = store.Retry
	}
}

type claimer struct {
	store.Store
	change func(*store.ClaimParams)
}

func claiming(change func(*store.ClaimParams)) func(store.Store) store.Store {
	return func(st store.Store) store.Store { return claimer{st, change} }
}

func (c claimer) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	c.change(&p)
	return c.Store.Claim(ctx, p)
}

type neverStale struct{ store.Store }

func (s neverStale) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	for i := range p.Events {
		if set, err := s.EndpointSet(ctx, p.Events[i].Scope); err == nil {
			p.Events[i].SetVersion = set.Version
		}
	}
	return s.Store.Enqueue(ctx, p)
}

type noRepeat struct{ store.Store }

func (s noRepeat) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	p.Repeat = false
	return s.Store.Enqueue(ctx, p)
}

type mixesModes struct{ store.Store }

func (s mixesModes) Event(ctx context.Context, scope store.Scope, id string) (store.Event, error) {
	ev, err := s.Store.Event(ctx, scope, id)
	if err != nil {
		scope.Mode = store.Live + store.Test - scope.Mode
		return s.Store.Event(ctx, scope, id)
	}
	return ev, nil
}

type noLimit struct{ store.Store }

func (s noLimit) TakeOver(ctx context.Context, _ int) (int, error) {
	return s.Store.TakeOver(ctx, 1000)
}

type neverExpires struct{ store.Store }

func (neverExpires) Expire(ctx context.Context, _ time.Duration, _ int) (int, error) {
	return 0, nil
}

type wetRun struct{ store.Store }

func (s wetRun) Recover(ctx context.Context, scope store.Scope, p store.RecoverParams) (store.Recovered, error) {
	p.DryRun = false
	return s.Store.Recover(ctx, scope, p)
}

type noContext struct{ store.Store }

func (s noContext) Settle(ctx context.Context, ss []store.Settlement) ([]store.Settled, error) {
	return s.Store.Settle(context.WithoutCancel(ctx), ss)
}

type neverCloses struct{ store.Store }

func (neverCloses) Close() error { return nil }

type overlaps struct{ store.Store }

func (s overlaps) Deliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery) ([]store.Delivery, error) {
	if q.Before != (store.DeliveryID{}) {
		q.Before.Round++
	}
	return s.Store.Deliveries(ctx, scope, q)
}

type trimsBody struct{ store.Store }

func (s trimsBody) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	for i := range p.Events {
		p.Events[i].Body = bytes.TrimRight(p.Events[i].Body, "\xff")
	}
	return s.Store.Enqueue(ctx, p)
}

type undoesReseal struct{ store.Store }

func (s undoesReseal) UpdateEndpoint(ctx context.Context, ep store.Endpoint, action store.Action, actor string) (store.Endpoint, error) {
	out, err := s.Store.UpdateEndpoint(ctx, ep, action, actor)
	if err == nil {
		_, err = s.Reseal(ctx, []store.Resealed{{
			EndpointKey: store.EndpointKey{Scope: ep.Scope, Num: out.Num}, Values: []store.SealedValue{*ep.SealedValues()[0]},
		}})
		out.Sealed = ep.Sealed
	}
	return out, err
}

type losesTrace struct{ store.Store }

func (s losesTrace) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	c, err := s.Store.Claim(ctx, p)
	for i := range c.Deliveries {
		c.Deliveries[i].Trace = ""
	}
	return c, err
}

type countsAll struct{ store.Store }

func (s countsAll) Backlogs(ctx context.Context, scope store.Scope, q store.BacklogQuery) ([]store.Backlog, error) {
	q.Bound = 1 << 20
	return s.Store.Backlogs(ctx, scope, q)
}
