package storetest_test

import (
	"bytes"
	"context"
	"errors"
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
	tx    func(st store.Store, tx store.Tx) store.Tx // nil: transactions keep the contract
	// elsewhere says that transactions on another database are taken for the store's own.
	elsewhere bool
}

var faults = map[string]fault{
	"release is charged":        {check: "ReleaseIsNotCharged", make: settling(func(s *store.Settlement) { chargeRelease(s) })},
	"quiet is ignored":          {check: "HealthQuiet", make: settling(func(s *store.Settlement) { s.Quiet = false })},
	"hold is ignored":           {check: "ClaimHold", make: settling(func(s *store.Settlement) { s.Hold = 0 })},
	"delay is ignored":          {check: "RetryWaits", make: settling(func(s *store.Settlement) { s.Delay = 0 })},
	"ago is ignored":            {check: "AttemptRoundTrip", make: settling(func(s *store.Settlement) { s.Ago = 0 })},
	"410 is ignored":            {check: "SettleDisables", make: settling(func(s *store.Settlement) { s.DisableVersion = 0 })},
	"failure outweighs success": {check: "EveryOrder", make: settling(func(s *store.Settlement) { failLate(s) })},
	"room is ignored":           {check: "ClaimRoom", make: claiming(func(p *store.ClaimParams) { p.Room, p.DefaultRoom = nil, 1000 })},
	"cursor is ignored":         {check: "ClaimOrder", make: claiming(func(p *store.ClaimParams) { p.After = 0 })},
	"budget is ignored":         {check: "ClaimBytes", make: claiming(func(p *store.ClaimParams) { p.Bytes = 0 })},
	"window is ignored":         {check: "EnableAfterWindow", make: claiming(func(p *store.ClaimParams) { p.Window = 1 << 62 })},
	"leases do not last":        {check: "OneLiveLease", make: claiming(func(p *store.ClaimParams) { p.Lease = 1 })},
	"stale set is accepted":     {check: "StaleEndpointSet", make: func(st store.Store) store.Store { return neverStale{st} }},
	"repeat is ignored":         {check: "RepeatedBatch", make: func(st store.Store) store.Store { return noRepeat{st} }},
	"modes mix":                 {check: "ScopesNeverMix", make: func(st store.Store) store.Store { return mixesModes{st} }},
	"steps have no bound":       {check: "StepsAreBounded", make: func(st store.Store) store.Store { return noLimit{st} }},
	"expire does nothing":       {check: "EnableAfterWindow", make: func(st store.Store) store.Store { return neverExpires{st} }},
	"dry run is wet":            {check: "RecoverSteps", make: func(st store.Store) store.Store { return wetRun{st} }},
	"context is ignored":        {check: "CancelledContext", make: func(st store.Store) store.Store { return noContext{st} }},
	"close is forgotten":        {check: "ClosedStore", make: func(st store.Store) store.Store { return neverCloses{st} }},
	"pages overlap":             {check: "DeliveryLog", make: func(st store.Store) store.Store { return overlaps{st} }},
	"body is changed":           {check: "EventRoundTrip", make: func(st store.Store) store.Store { return trimsBody{st} }},

	"send later is now":           {check: "SendLater", make: enqueueing(func(p *store.EnqueueParams) { noDelay(p) })},
	"window begins too early":     {check: "SendLaterWindow", make: func(st store.Store) store.Store { return shortWindow{st} }},
	"back-fill sends twice":       {check: "BackFill", make: func(st store.Store) store.Store { return fillsTwice{st} }},
	"undelivered is all":          {check: "Undelivered", make: func(st store.Store) store.Store { return allUndelivered{st} }},
	"answers are kept":            {check: "PruneResponses", make: pruning(func(r *store.Retention) { r.Responses = 0 })},
	"answers go with payloads":    {check: "PruneResponses", make: pruning(func(r *store.Retention) { r.Responses = max(r.Responses, r.Payloads) })},
	"nothing is erased":           {check: "Erase", make: erasing(func(p *store.EraseParams) { p.After = 1 << 60 })},
	"steps of erasing unbounded":  {check: "EraseSteps", make: erasing(func(p *store.EraseParams) { p.Limit = 1000 })},
	"a reference erases all":      {check: "EraseSelects", make: erasing(func(p *store.EraseParams) { eraseAll(p) })},
	"erasing crosses scopes":      {check: "ScopesNeverMix", make: func(st store.Store) store.Store { return erasesModes{st} }},
	"erased references are found": {check: "Erase", make: func(st store.Store) store.Store { return findsErased{st} }},
	"late answers are kept":       {check: "EraseUnderWay", make: func(st store.Store) store.Store { return keepsAnswers{st} }},
	"pruned is erased enough":     {check: "EraseAfterPrune", make: func(st store.Store) store.Store { return passesPruned{st} }},
	"transactions erase at once":  {check: "TxErase", tx: func(st store.Store, tx store.Tx) store.Tx { return erasesAtOnce{tx, st} }},
	"transactions are unbounded":  {check: "TxEraseBounded", tx: func(st store.Store, tx store.Tx) store.Tx { return erasesAtOnce{tx, st} }},
	"transactions do not wait":    {check: "TxSendLater", tx: func(_ store.Store, tx store.Tx) store.Tx { return sendsAtOnce{tx} }},
	"any database is its own":     {check: "TxForeign", elsewhere: true},
	"lists outlive erasing":       {check: "EraseFanOut", make: func(st store.Store) store.Store { return fansOutFirst{st} }},
	"an op is ignored":            {check: "RepeatedChange", make: func(st store.Store) store.Store { return forgetsOps{st} }},
	"repeated replays are new":    {check: "RepeatedReplay", make: func(st store.Store) store.Store { return replaysAgain{st} }},
	"reseal is undone":            {check: "ResealOutlivesEdits", make: func(st store.Store) store.Store { return undoesReseal{st} }},
	"times are floats":            {check: "CreatedAt", make: enqueueing(func(p *store.EnqueueParams) { asFloats(p) })},
	"trace is lost":               {check: "TraceContext", make: func(st store.Store) store.Store { return losesTrace{st} }},
	"targets are not checked":     {check: "EnqueueRefused", make: func(st store.Store) store.Store { return acceptsTargets{st} }},
	"bad settlements are left":    {check: "SettleRefused", make: func(st store.Store) store.Store { return settlesRest{st} }},
	"moments are late":            {check: "MomentsAreReached", make: settling(func(s *store.Settlement) { waitLonger(s) })},
	"activity of a closed store":  {check: "ClosedStore", make: func(st store.Store) store.Store { return activeClosed{st} }},
	"backlog has no bound":        {check: "BacklogPages", make: func(st store.Store) store.Store { return countsAll{st} }},
	"leases are not told":         {check: "LeaseIsTold", make: func(st store.Store) store.Store { return hidesLeases{st} }},
	"tests count as lost":         {check: "BacklogOfTests", make: func(st store.Store) store.Store { return losesTests{st} }},
	"tests count in rates":        {check: "ActivityOfTests", make: func(st store.Store) store.Store { return ratesTests{st} }},
	"refusals of tests are lost":  {check: "SettleKeepsRefusal", make: settling(func(s *store.Settlement) { dropRefusal(s) })},
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
		mem := memory.NewWithClock(c.Now)
		if f.make == nil {
			f.make = func(st store.Store) store.Store { return st }
		}
		in := storetest.Instance{Store: f.make(mem), Advance: c.Advance}
		if f.tx != nil {
			in.Begin = func(*testing.T) storetest.Transaction {
				tx := mem.Begin()
				return storetest.Transaction{Tx: f.tx(mem, tx), Commit: tx.Commit, Rollback: tx.Rollback}
			}
		}
		if f.elsewhere {
			in.Elsewhere = func(*testing.T) (store.Store, func() storetest.Transaction) {
				other := memory.NewWithClock(c.Now)
				return other, func() storetest.Transaction {
					tx := other.Begin()
					return storetest.Transaction{Tx: takenForOurs{tx, in.Store}, Commit: tx.Commit, Rollback: tx.Rollback}
				}
			}
			in.Begin = func(*testing.T) storetest.Transaction {
				tx := mem.Begin()
				return storetest.Transaction{Tx: tx, Commit: tx.Commit, Rollback: tx.Rollback}
			}
		}
		return in
	})
}

// takenForOurs is a transaction of another store's.
type takenForOurs struct {
	store.Tx
	st store.Store
}

func (t takenForOurs) Store() store.Store { return t.st }

// TestCatches shows that the suite finds stores that break the contract.
func TestCatches(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
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

// forgetsOps makes every change anew.
type forgetsOps struct{ store.Store }

func (s forgetsOps) UpdateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	p.Op = ""
	return s.Store.UpdateEndpoint(ctx, ep, p)
}

// replaysAgain takes no replay for one that it has made.
type replaysAgain struct{ store.Store }

func (s replaysAgain) Replay(ctx context.Context, scope store.Scope, event, endpoint string, p store.ReplayParams) (store.DeliveryID, error) {
	return s.Store.Replay(ctx, scope, event, endpoint, store.ReplayParams{})
}

// erasesAtOnce erases outside of the transaction, and any number.
type erasesAtOnce struct {
	store.Tx
	st store.Store
}

func (t erasesAtOnce) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	return t.st.Erase(ctx, scope, p)
}

type sendsAtOnce struct{ store.Tx }

func (t sendsAtOnce) Enqueue(ctx context.Context, events []store.NewEvent) ([]store.Enqueued, error) {
	for i := range events {
		events[i].Delay = 0
	}
	return t.Tx.Enqueue(ctx, events)
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

func (s undoesReseal) UpdateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	out, err := s.Store.UpdateEndpoint(ctx, ep, p)
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

type hidesLeases struct{ store.Store }

func (s hidesLeases) Delivery(ctx context.Context, scope store.Scope, id store.DeliveryID) (store.Delivery, error) {
	d, err := s.Store.Delivery(ctx, scope, id)
	d.LeasedAt, d.LeaseUntil = time.Time{}, time.Time{}
	return d, err
}

// losesTests counts one more as exhausted where there was a test.
type losesTests struct{ store.Store }

func (s losesTests) Backlogs(ctx context.Context, scope store.Scope, q store.BacklogQuery) ([]store.Backlog, error) {
	page, err := s.Store.Backlogs(ctx, scope, q)
	for i := range page {
		lost, err := s.Deliveries(ctx, scope, store.DeliveryQuery{EndpointID: page[i].EndpointID, States: []store.State{store.Exhausted}})
		if err != nil {
			return nil, err
		}
		page[i].Exhausted = store.Bounded(len(lost), q.Stop())
	}
	return page, err
}

type ratesTests struct{ store.Store }

func (s ratesTests) Activity(ctx context.Context, scope store.Scope, ids []string, newest int) ([]store.Activity, error) {
	list, err := s.Store.Activity(ctx, scope, ids, newest)
	for i := range list {
		list[i].Attempts += list[i].Tests
	}
	return list, err
}

func dropRefusal(s *store.Settlement) {
	if s.Verdict == store.Deliver {
		s.Attempt.ResponseHeader, s.Attempt.ResponseBody = nil, nil
	}
}

type enqueuer struct {
	store.Store
	change func(*store.EnqueueParams)
}

func enqueueing(change func(*store.EnqueueParams)) func(store.Store) store.Store {
	return func(st store.Store) store.Store { return enqueuer{st, change} }
}

func (e enqueuer) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	e.change(&p)
	return e.Store.Enqueue(ctx, p)
}

// asFloats does to times what arithmetic in floating point does.
func asFloats(p *store.EnqueueParams) {
	for i := range p.Events {
		p.Events[i].CreatedAt = time.UnixMicro(int64(float64(p.Events[i].CreatedAt.UnixMicro())))
	}
}

func noDelay(p *store.EnqueueParams) {
	for i := range p.Events {
		p.Events[i].Delay = 0
	}
}

type shortWindow struct{ store.Store }

func (s shortWindow) Expire(ctx context.Context, window time.Duration, limit int) (int, error) {
	return s.Store.Expire(ctx, window/2, limit)
}

type fillsTwice struct{ store.Store }

func (s fillsTwice) BackFill(ctx context.Context, scope store.Scope, endpointID string, events []int64) (int, error) {
	n := 0
	all, err := s.Events(ctx, scope, store.EventQuery{})
	for i := range all {
		for _, num := range events {
			if all[i].Num == num && err == nil {
				_, err = s.Replay(ctx, scope, all[i].ID, endpointID, store.ReplayParams{})
				n++
			}
		}
	}
	return n, err
}

type allUndelivered struct{ store.Store }

func (s allUndelivered) Undelivered(ctx context.Context, scope store.Scope, q store.UndeliveredQuery) ([]store.Undelivered, int64, bool, error) {
	all, err := s.Events(ctx, scope, store.EventQuery{From: q.From, To: q.To})
	var page []store.Undelivered
	for i := len(all) - 1; i >= 0; i-- {
		page = append(page, store.Undelivered{Event: all[i]})
	}
	return page, 0, true, err
}

type pruner struct {
	store.Store
	change func(*store.Retention)
}

func pruning(change func(*store.Retention)) func(store.Store) store.Store {
	return func(st store.Store) store.Store { return pruner{st, change} }
}

func (s pruner) Prune(ctx context.Context, r store.Retention, limit int) (int, error) {
	s.change(&r)
	return s.Store.Prune(ctx, r, limit)
}

type eraser struct {
	store.Store
	change func(*store.EraseParams)
}

func erasing(change func(*store.EraseParams)) func(store.Store) store.Store {
	return func(st store.Store) store.Store { return eraser{st, change} }
}

func (s eraser) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	s.change(&p)
	return s.Store.Erase(ctx, scope, p)
}

func eraseAll(p *store.EraseParams) {
	if p.Ref != "" && p.EventID == "" && !p.All {
		p.Ref, p.All = "", true
	}
}

type erasesModes struct{ store.Store }

func (s erasesModes) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	if p.Ref != "" {
		other := scope
		other.Mode = store.Live + store.Test - scope.Mode
		if r, err := s.Store.Erase(ctx, other, p); err == nil && r.Events > 0 {
			return r, nil
		}
	}
	return s.Store.Erase(ctx, scope, p)
}

// findsErased finds events by references that they had.
type findsErased struct{ store.Store }

func (s findsErased) Events(ctx context.Context, scope store.Scope, q store.EventQuery) ([]store.Event, error) {
	q.Ref = ""
	return s.Store.Events(ctx, scope, q)
}

// keepsAnswers invents an answer for each failed attempt, as if it had kept one.
type keepsAnswers struct{ store.Store }

func (s keepsAnswers) Attempts(ctx context.Context, scope store.Scope, id store.DeliveryID) ([]store.Attempt, error) {
	as, err := s.Store.Attempts(ctx, scope, id)
	for i := range as {
		if as[i].Outcome == store.AttemptFailed {
			as[i].ResponseBody = []byte("x")
		}
	}
	return as, err
}

type passesPruned struct{ store.Store }

func (s passesPruned) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	all, err := s.Events(ctx, scope, store.EventQuery{Ref: p.Ref})
	if err == nil && len(all) > 0 && !all[0].ErasedAt.IsZero() {
		return store.Erased{Events: 1, Done: true}, nil
	}
	return s.Store.Erase(ctx, scope, p)
}

type fansOutFirst struct{ store.Store }

func (s fansOutFirst) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	if _, err := s.FanOut(ctx, 2*store.MaxFanOut); err != nil {
		return store.Erased{}, err
	}
	return s.Store.Erase(ctx, scope, p)
}

// acceptsTargets stores events without looking whose endpoints they are for.
type acceptsTargets struct{ store.Store }

func (s acceptsTargets) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	out, err := s.Store.Enqueue(ctx, p)
	if errors.Is(err, store.ErrInvalid) {
		for i := range p.Events {
			p.Events[i].For = nil
		}
		return s.Store.Enqueue(ctx, p)
	}
	return out, err
}

// settlesRest settles what can be settled of a batch that is to be refused.
type settlesRest struct{ store.Store }

func (s settlesRest) Settle(ctx context.Context, ss []store.Settlement) ([]store.Settled, error) {
	out, err := s.Store.Settle(ctx, ss)
	if errors.Is(err, store.ErrInvalid) {
		_, _ = s.Store.Settle(ctx, ss[:1])
	}
	return out, err
}

func waitLonger(s *store.Settlement) {
	if s.Delay > 0 {
		s.Delay += time.Second
	}
}

type activeClosed struct{ store.Store }

func (s activeClosed) Activity(ctx context.Context, scope store.Scope, ids []string, newest int) ([]store.Activity, error) {
	list, err := s.Store.Activity(ctx, scope, ids, newest)
	if errors.Is(err, store.ErrClosed) {
		return nil, nil
	}
	return list, err
}
