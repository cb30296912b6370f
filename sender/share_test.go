package sender

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// batches records what a brokenStore was asked to enqueue.
type batches struct {
	mu   sync.Mutex
	list []store.EnqueueParams
}

func (b *batches) add(p store.EnqueueParams) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, p)
	return nil
}

func (b *batches) ids() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([][]string, len(b.list))
	for i, p := range b.list {
		for _, e := range p.Events {
			ids[i] = append(ids[i], e.ID)
		}
	}
	return ids
}

// gated makes the first Enqueue wait until the returned function is called.
func gated(st *brokenStore, seen *batches) (open func()) {
	gate := make(chan struct{})
	st.enqueue = func(p store.EnqueueParams) error {
		first := len(seen.ids()) == 0
		_ = seen.add(p)
		if first {
			<-gate
		}
		return nil
	}
	return func() { close(gate) }
}

func TestSendsShareCommits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var seen batches
		st := &brokenStore{Store: b.mem}
		open := gated(st, &seen)
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		var wg sync.WaitGroup
		send := func(tenant *Tenant, id string) {
			wg.Go(func() { b.send(tenant, id) })
			synctest.Wait()
		}
		send(&s.Tenant, "m")
		send(&s.Tenant, "z")
		send(s.For("zoe", store.Live), "b")
		send(s.For("", store.Test), "d")
		send(&s.Tenant, "c")
		send(&s.Tenant, "a")
		send(&s.Tenant, "c") // the same id and content: in a commit of its own
		open()
		wg.Wait()
		require.Equal(t, [][]string{{"m"}, {"a", "c", "z", "d", "b"}, {"c"}}, seen.ids())
		b.pass(time.Second)
		require.Len(t, b.net.arrivals(""), 4)
	})
}

func TestSharedCommitsAreBounded(t *testing.T) {
	fill := func(n, size, deliveries int) *enqueuer {
		q := &enqueuer{}
		for i := range n {
			m := newMember(store.Event{Scope: store.Scope{Mode: store.Live}, ID: fmt.Sprintf("e%05d", i)})
			m.size, m.event.For = size, make([]store.NewDelivery, deliveries)
			m.until = time.Now().Add(time.Hour)
			q.waiting.add(m)
		}
		return q
	}
	sizes := func(q *enqueuer) (list []int) {
		for batch := q.next(); len(batch) > 0; batch = q.next() {
			list = append(list, len(batch))
		}
		return list
	}
	require.Equal(t, []int{256, 256, 88}, sizes(fill(600, 10, 1)))
	require.Equal(t, []int{4, 4, 1}, sizes(fill(9, 1<<20, 1)))
	require.Equal(t, []int{10, 10, 2}, sizes(fill(22, 10, 100)))
	require.Equal(t, []int{1, 1}, sizes(fill(2, 5<<20, 1)), "bigger than the bound: alone")
	require.Equal(t, []int{1, 1}, sizes(fill(2, 10, 5000)))

	// A thousand times the same id: each in its own commit, none forgotten.
	q := fill(300, 10, 1)
	var all, got []*member
	for m := q.waiting.first; m != nil; m = m.next {
		m.event.ID = "same"
		all = append(all, m)
	}
	for batch := q.next(); len(batch) > 0; batch = q.next() {
		require.Len(t, batch, 1)
		got = append(got, batch...)
	}
	require.Equal(t, all, got, "in the order in which they came")
}

// A batch that fails is repeated member by member: the innocent are stored, the
// others have their own errors.
func TestFailedBatchIsRepeatedMemberByMember(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var seen batches
		st := &brokenStore{Store: b.mem}
		open := gated(st, &seen)
		gate := st.enqueue
		st.enqueue = func(p store.EnqueueParams) error {
			_ = gate(p)
			for _, e := range p.Events {
				if strings.HasPrefix(e.ID, "bad") {
					return fmt.Errorf("%w: %s", store.ErrBusy, p.Events[0].ID)
				}
			}
			return nil
		}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		errs := make(map[string]error)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, id := range []string{"first", "good1", "bad1", "good2", "bad2", "good3"} {
			wg.Go(func() {
				_, err := s.Send(t.Context(), Event{ID: id, Type: "a.b"})
				mu.Lock()
				errs[id] = err
				mu.Unlock()
			})
			synctest.Wait()
		}
		open()
		wg.Wait()
		for id, err := range errs {
			if strings.HasPrefix(id, "bad") {
				require.ErrorIs(t, err, store.ErrBusy)
				require.ErrorContains(t, err, id)
			} else {
				require.NoError(t, err, id)
			}
		}
		b.pass(2 * time.Second)
		b.requireOnce(4, 1)
		require.True(t, s.lanes.idle(), "the slots of those that failed are free")
	})
}

// The answer to a commit is lost: it is repeated, known again by the leases, and
// sent once.
func TestLostAnswerIsRepeatedAndSentOnce(t *testing.T) {
	for name, again := range map[string]error{
		"at once":                    nil,
		"after a refused connection": errAway,
		"after being lost again":     store.ErrUnknownCommit,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				var seen batches
				st := &brokenStore{Store: b.mem, enqueue: seen.add}
				calls := 0
				st.before = func(_ context.Context, method string) error {
					if method != "Enqueue" {
						return nil
					}
					if calls++; calls == 2 {
						return again
					}
					return nil
				}
				st.after = func(_ context.Context, method string) error {
					if method == "Enqueue" && calls == 1 {
						return fmt.Errorf("%w: connection reset", store.ErrUnknownCommit)
					}
					return nil
				}
				s := b.start(st, Options{})
				b.endpoint(&s.Tenant, host(1))
				r, err := s.Send(t.Context(), Event{ID: "a", Type: "a.b"})
				require.NoError(t, err)
				require.Equal(t, Receipt{ID: "a", Deliveries: 1}, r)
				b.pass(time.Minute)
				require.Len(t, b.net.arrivals(""), 1)
				_, attempts := b.delivery(&s.Tenant, "a")
				require.Len(t, attempts, 1)
				require.Equal(t, store.AttemptDelivered, attempts[0].Outcome)
				last := seen.list[len(seen.list)-1]
				require.True(t, last.Repeat)
				require.True(t, s.lanes.idle())
			})
		})
	}
}

// The lease of a delivery whose commit was repeated counts from the first try: an
// attempt that would outlast it must not begin.
func TestLeaseOfARepeatedCommitCountsFromTheFirstTry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		calls := 0
		st.after = func(_ context.Context, method string) error {
			if method == "Enqueue" {
				if calls++; calls == 1 {
					time.Sleep(9 * time.Second) // the lease is 15 s, the timeout 10 s
					return store.ErrUnknownCommit
				}
			}
			return nil
		}
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 9900*time.Millisecond, 200) }
		s := b.start(st, Options{})
		other := b.start(b.mem, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Minute)
		b.requireOnce(1, 1)
		d, attempts := b.delivery(&other.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		require.Len(t, attempts, 1)
	})
}

// A batch whose answer is lost and whose repetition fails for one member: each is
// known again by its own lease.
func TestLostAnswerOfABatchWithABadMember(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var seen batches
		st := &brokenStore{Store: b.mem}
		open := gated(st, &seen)
		lost := false
		st.after = func(_ context.Context, method string) error {
			if method == "Enqueue" && len(seen.ids()) == 2 && !lost {
				lost = true
				return store.ErrUnknownCommit
			}
			return nil
		}
		gate := st.enqueue
		st.enqueue = func(p store.EnqueueParams) error {
			_ = gate(p)
			if len(p.Events) > 1 && p.Repeat {
				return errAway
			}
			return nil
		}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				r, err := s.Send(t.Context(), Event{Type: "a.b", Data: i})
				require.NoError(t, err)
				require.False(t, r.Duplicate)
				require.Equal(t, 1, r.Deliveries)
			})
			synctest.Wait()
		}
		open()
		wg.Wait()
		b.pass(time.Minute)
		b.requireOnce(5, 1)
	})
}

// Of an event that nothing was leased of a repetition is known by its id, if that
// was made here.
func TestLostAnswerWithoutLeases(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		calls := 0
		st.after = func(_ context.Context, method string) error {
			if method == "Enqueue" {
				if calls++; calls == 1 {
					return store.ErrUnknownCommit
				}
			}
			return nil
		}
		s := b.sender(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		r, err := s.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		require.False(t, r.Duplicate)
		require.Equal(t, 1, r.Deliveries)
	})
}

// A store that never says whether it has committed: after half a minute the caller
// learns that nobody knows.
func TestAnswerIsLostForGood(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		st.before = func(_ context.Context, method string) error {
			if method == "Enqueue" {
				return store.ErrUnknownCommit
			}
			return nil
		}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		start := time.Now()
		r, err := s.Send(t.Context(), Event{ID: "a", Type: "a.b"})
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.ErrorIs(t, err, store.ErrUnknownCommit)
		require.Equal(t, "a", r.ID)
		require.Equal(t, commitTimeout, time.Since(start))
		require.True(t, s.lanes.idle())
	})
}

// A store that hangs: the call ends, and those that wait for their turn are refused.
func TestStoreHangsInEnqueue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		st.before = func(ctx context.Context, method string) error {
			if method != "Enqueue" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		var wg sync.WaitGroup
		var begun atomic.Int32
		for range 50 {
			wg.Go(func() {
				_, err := s.Send(t.Context(), Event{Type: "a.b"})
				if errors.Is(err, ErrOutcomeUnknown) {
					begun.Add(1)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					require.ErrorIs(t, err, store.ErrBusy)
				}
			})
		}
		start := time.Now()
		wg.Wait()
		require.LessOrEqual(t, time.Since(start), commitTimeout)
		require.Positive(t, begun.Load())
		require.True(t, s.lanes.idle())
	})
}

// A caller that gives up while its event is being stored: the event is stored and
// delivered all the same. One whose event still waits has it stored nowhere.
func TestCallerGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		var seen batches
		open := gated(st, &seen)
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for _, id := range []string{"a", "b"} { // one in the commit, one waiting for the next
			wg.Go(func() {
				r, err := s.Send(ctx, Event{ID: id, Type: "a.b"})
				requireTruth(t, err, id == "a")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, id, r.ID)
			})
			synctest.Wait()
		}
		wg.Go(func() {
			receipts, err := s.SendBatch(ctx, []Event{{ID: "c", Type: "a.b"}, {ID: "d", Type: "-"}, {Type: "..", ID: "e"}})
			var batch *BatchError
			require.ErrorAs(t, err, &batch)
			for i := range 2 {
				require.ErrorIs(t, batch.Errs[i], context.DeadlineExceeded)
				requireTruth(t, batch.Errs[i], false)
			}
			require.Equal(t, "c", receipts[0].ID)
			require.ErrorIs(t, batch.Errs[2], ErrInvalidEvent)
		})
		wg.Wait()
		_, err := s.Send(ctx, Event{ID: "never", Type: "a.b"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, ErrOutcomeUnknown, "nothing has begun")
		open()
		b.pass(2 * time.Second)
		b.requireOnce(1, 1)
		require.True(t, s.lanes.idle())
	})
}

// The closed store is the one reason for which nothing can be stored.
func TestSendAfterTheStoreIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.start(b.mem, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		require.NoError(t, b.mem.Close())
		_, err := s.Send(t.Context(), Event{ID: "b", Type: "a.b"})
		require.True(t, errors.Is(err, store.ErrClosed), "%v", err)
		require.NoError(t, b.stop(s, time.Minute))
	})
}

// An event that is under way is sent again with its id, and the answer to that is lost:
// the leases that the repetition finds are those of the first Send.
func TestLostAnswerAboutAnEventThatIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		calls := 0
		st.after = func(_ context.Context, method string) error {
			if method == "Enqueue" {
				if calls++; calls == 2 {
					return store.ErrUnknownCommit
				}
			}
			return nil
		}
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 5*time.Second, 200) }
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Second)
		r, err := s.Send(t.Context(), Event{ID: "a", Type: "a.b"})
		require.NoError(t, err)
		require.True(t, r.Duplicate)
		b.pass(time.Minute)
		require.Equal(t, 3, calls)
		b.requireOnce(1, 1)
		require.True(t, s.lanes.idle())
	})
}

// The answer to a commit is lost, and before it is repeated an endpoint is added: what
// the repetition can't tell for that, the next one does.
func TestLostAnswerAndANewEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		s := b.sender(st, Options{})
		elsewhere := b.sender(b.mem, Options{})
		b.endpoint(&s.Tenant, host(1))
		calls := 0
		st.after = func(_ context.Context, method string) error {
			if method == "Enqueue" {
				if calls++; calls == 1 {
					b.endpoint(&elsewhere.Tenant, host(2))
					return store.ErrUnknownCommit
				}
			}
			return nil
		}
		b.run(s)
		r, err := s.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		require.False(t, r.Duplicate, "nobody else has its id")
		b.pass(time.Minute)
		b.requireOnce(1, 1)
		require.True(t, s.lanes.idle())
	})
}

// The store is closed before a commit can be repeated whose answer was lost.
func TestStoreIsClosedAfterALostAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		st.after = func(_ context.Context, method string) error {
			if method == "Enqueue" {
				require.NoError(t, b.mem.Close())
				return store.ErrUnknownCommit
			}
			return nil
		}
		s := b.sender(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		_, err := s.Send(t.Context(), Event{Type: "a.b"})
		require.ErrorIs(t, err, store.ErrClosed)
		require.ErrorIs(t, err, ErrOutcomeUnknown)
	})
}
