package sender

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// muteStore is a store behind a network that swallows everything: from some moment on
// its calls of Enqueue end with their context, and what had reached the database is
// stored all the same when it comes back.
type muteStore struct {
	brokenStore
	mute  atomic.Bool
	mu    sync.Mutex
	begun []store.EnqueueParams
}

func (b *bubble) muteStore() *muteStore {
	st := &muteStore{brokenStore: brokenStore{Store: b.mem}}
	st.before = func(ctx context.Context, method string) error {
		if method != "Enqueue" || !st.mute.Load() {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	return st
}

func (st *muteStore) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	if st.mute.Load() {
		st.mu.Lock()
		st.begun = append(st.begun, p)
		st.mu.Unlock()
	}
	return st.brokenStore.Enqueue(ctx, p)
}

// back ends the silence: the batches that had begun are stored now. It returns the ids
// of their events.
func (st *muteStore) back(t *testing.T) map[string]bool {
	st.mute.Store(false)
	ids := make(map[string]bool)
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, p := range st.begun {
		_, err := st.Store.Enqueue(t.Context(), p)
		require.NoError(t, err)
		for _, e := range p.Events {
			ids[e.ID] = true
		}
	}
	return ids
}

func (b *bubble) requireStored(t *Tenant, ids map[string]bool) {
	b.t.Helper()
	stored := make(map[string]bool)
	q := store.EventQuery{Limit: 1000}
	for {
		page, err := b.mem.Events(b.t.Context(), t.scope, q)
		require.NoError(b.t, err)
		for _, e := range page {
			stored[e.ID] = true
		}
		if len(page) < q.Limit {
			break
		}
		q.Before = page[len(page)-1].Num
	}
	require.Equal(b.t, ids, stored)
}

// queued returns how many events wait.
func queued(s *Sender) int {
	s.enqueue.mu.Lock()
	defer s.enqueue.mu.Unlock()
	return s.enqueue.waiting.n + s.enqueue.alone.n
}

// requireTruth fails the test unless an error leaves open what is open, and only that.
func requireTruth(t *testing.T, err error, begun bool) {
	t.Helper()
	if begun {
		require.ErrorIs(t, err, ErrOutcomeUnknown)
	} else {
		require.NotErrorIs(t, err, ErrOutcomeUnknown)
	}
}

// 1,500 Sends without a deadline into a store that has gone mute: all are back after
// half a minute, and what they were told is true.
func TestSendsIntoAMuteStoreComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := b.muteStore()
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		st.mute.Store(true)
		errs := make([]error, 1500)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				_, errs[i] = s.Send(context.Background(), Event{ID: fmt.Sprint("e", i), Type: "a.b"})
			})
		}
		wg.Wait()
		require.LessOrEqual(t, time.Since(start), 36*time.Second)
		begun := st.back(t)
		for i, err := range errs {
			requireTruth(t, err, begun[fmt.Sprint("e", i)])
			if !begun[fmt.Sprint("e", i)] {
				require.ErrorIs(t, err, store.ErrBusy)
			}
		}
		b.requireStored(&s.Tenant, begun)
		b.pass(time.Minute)
		require.True(t, s.lanes.idle())
		b.requireOnce(len(begun), 1)
	})
}

// Callers that give up after a second, 920 a second, into a store that has gone mute:
// neither goroutines nor events pile up, and of those that gave up before their commit
// began none is stored.
func TestMuteStoreDoesNotSwellTheProcess(t *testing.T) {
	for name, send := range map[string]func(*Sender, context.Context, Event) error{
		"Send": func(s *Sender, ctx context.Context, e Event) error { _, err := s.Send(ctx, e); return err },
		"SendBatch": func(s *Sender, ctx context.Context, e Event) error {
			_, err := s.SendBatch(ctx, []Event{e})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				st := b.muteStore()
				s := b.start(st, Options{})
				b.endpoint(&s.Tenant, host(1))
				b.pass(time.Second)
				data := strings.Repeat("x", 4<<10)
				var mu sync.Mutex
				errs := make(map[string]error)
				flood := func(from, seconds int) (goroutines int, heap uint64) {
					var wg sync.WaitGroup
					for i := range 920 * seconds {
						wg.Go(func() {
							ctx, cancel := context.WithTimeout(context.Background(), time.Second)
							defer cancel()
							id := fmt.Sprintf("e%d-%d", from, i)
							err := send(s, ctx, Event{ID: id, Type: "a.b", Data: data})
							mu.Lock()
							errs[id] = err
							mu.Unlock()
						})
						time.Sleep(time.Second / 920)
					}
					wg.Wait()
					synctest.Wait()
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					return runtime.NumGoroutine(), m.HeapAlloc
				}
				st.mute.Store(true)
				goroutines, heap := flood(1, 5)
				later, laterHeap := flood(2, 20)
				require.LessOrEqual(t, later, goroutines+3, "goroutines")
				require.Less(t, laterHeap, heap+16<<20, "heap; the bodies alone have 75 MiB")
				require.Zero(t, queued(s), "nobody waits any more")
				begun := st.back(t)
				for id, err := range errs {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					requireTruth(t, err, begun[id])
				}
				b.requireStored(&s.Tenant, begun)
				b.pass(time.Minute)
				require.True(t, s.lanes.idle(), "no slot is held for who has gone")
			})
		})
	}
}

// A caller leaves before its event is taken into a commit, while it is, and after.
func TestCallerLeavesTheQueue(t *testing.T) {
	for name, c := range map[string]struct {
		leave  time.Duration // when; the first commit lasts from 0 to 2 s, the second from 2 to 4 s
		id     string        // who: "a" is in the first commit, "b" in the second, "c" a member that is tried alone
		known  bool          // that nothing is stored
		stored bool
	}{
		"while it waits":                           {time.Second, "b", true, false},
		"while it is stored":                       {time.Second, "a", false, true},
		"while it is stored, of the second commit": {3 * time.Second, "b", false, true},
	} {
		for _, batch := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " batch:", batch), func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bubble) {
					st := &brokenStore{Store: b.mem, enqueue: func(store.EnqueueParams) error {
						time.Sleep(2 * time.Second)
						return nil
					}}
					s := b.start(st, Options{})
					b.endpoint(&s.Tenant, host(1))
					errs := make(map[string]error)
					var mu sync.Mutex
					var wg sync.WaitGroup
					for _, id := range []string{"a", "b", "x"} {
						wg.Go(func() {
							ctx := t.Context()
							if id == c.id {
								var cancel context.CancelFunc
								ctx, cancel = context.WithTimeout(ctx, c.leave)
								defer cancel()
							}
							e := Event{ID: id, Type: "a.b"}
							var err error
							if batch {
								_, err = s.SendBatch(ctx, []Event{e})
							} else {
								_, err = s.Send(ctx, e)
							}
							mu.Lock()
							errs[id] = err
							mu.Unlock()
						})
						synctest.Wait()
					}
					wg.Wait()
					for id, err := range errs {
						if id != c.id {
							require.NoError(t, err, id)
							continue
						}
						require.ErrorIs(t, err, context.DeadlineExceeded)
						requireTruth(t, err, !c.known)
					}
					b.pass(time.Minute)
					ids := map[string]bool{"a": true, "b": true, "x": true}
					if !c.stored {
						delete(ids, c.id)
					}
					b.requireStored(&s.Tenant, ids)
					b.requireOnce(len(ids), 1)
					require.True(t, s.lanes.idle())
				})
			})
		}
	}
}

// The time of a Send counts from its beginning: who was taken late is answered when its
// own 30 s are over, and the younger ones of its batch when the store answers.
func TestTimeCountsFromTheSend(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		calls := 0
		st := &brokenStore{Store: b.mem, enqueue: func(store.EnqueueParams) error {
			calls++
			time.Sleep(map[int]time.Duration{1: 29 * time.Second, 2: 10 * time.Second}[calls])
			return nil
		}}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		var wg sync.WaitGroup
		send := func(id string, after time.Duration, check func(error)) {
			wg.Go(func() {
				start := time.Now()
				_, err := s.Send(t.Context(), Event{ID: id, Type: "a.b"})
				check(err)
				require.Equal(t, after, time.Since(start), id)
			})
			synctest.Wait()
		}
		good := func(err error) { require.NoError(t, err) }
		send("a", 29*time.Second, good)
		send("b", commitTimeout+overdueAfter, func(err error) { // taken at 29 s
			require.ErrorIs(t, err, ErrOutcomeUnknown)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		time.Sleep(20 * time.Second)
		send("c", 19*time.Second, good)
		wg.Wait()
		b.pass(time.Minute)
		b.requireOnce(3, 1)
		require.True(t, s.lanes.idle())
	})
}

// Members that are tried alone have the same 30 s, however many they are, and hold up
// nobody who comes after them.
func TestTimeOfMembersThatAreTriedAlone(t *testing.T) {
	for _, again := range []error{errAway, store.ErrBusy} {
		inBubble(t, func(t *testing.T, b *bubble) {
			var seen batches
			st := &brokenStore{Store: b.mem}
			open := gated(st, &seen)
			tried := make(map[string]bool)
			gate := st.enqueue
			var mu sync.Mutex
			st.enqueue = func(p store.EnqueueParams) error {
				_ = gate(p)
				if len(p.Events) > 1 {
					return again
				}
				if strings.HasPrefix(p.Events[0].ID, "bad") {
					mu.Lock()
					tried[p.Events[0].ID] = true
					mu.Unlock()
					time.Sleep(11 * time.Second)
				}
				return nil
			}
			s := b.start(st, Options{})
			b.endpoint(&s.Tenant, host(1))
			var wg sync.WaitGroup
			wg.Go(func() { b.send(&s.Tenant, "first") })
			synctest.Wait()
			start := time.Now()
			errs := make([]error, 256)
			for i := range errs {
				wg.Go(func() { _, errs[i] = s.Send(t.Context(), Event{ID: fmt.Sprint("bad", i), Type: "a.b"}) })
			}
			synctest.Wait()
			open()
			synctest.Wait()
			b.send(&s.Tenant, "later")
			require.Zero(t, time.Since(start), "others need not wait for them")
			wg.Wait()
			require.LessOrEqual(t, time.Since(start), commitTimeout+overdueAfter)
			mu.Lock() // the last of them are at it still
			defer mu.Unlock()
			require.Len(t, tried, 3*aloneAtOnce)
			stored := map[string]bool{"first": true, "later": true}
			for i, err := range errs {
				switch id := fmt.Sprint("bad", i); {
				case err == nil:
					stored[id] = true
				case tried[id]: // the last ones, whose time ended meanwhile
					require.ErrorIs(t, err, ErrOutcomeUnknown)
				default:
					require.ErrorIs(t, err, store.ErrBusy)
					requireTruth(t, err, false)
				}
			}
			require.Len(t, stored, 2+2*aloneAtOnce)
			b.pass(time.Minute)
			b.requireStored(&s.Tenant, stored)
			require.True(t, s.lanes.idle())
		})
	}
}

// Whoever was in a batch that ended unknown does not hear that nothing is stored, whatever
// comes of the event then.
func TestLeavingAfterABatchThatEndedUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		leave time.Duration // when callers leave, 0: they don't
		alone error         // what trying alone says at once; nil: it takes long
		stale bool          // an endpoint is created meanwhile
	}{
		"leaves while waiting to be tried alone": {leave: 20 * time.Second},
		"waits for 30 s":                         {},
		"matched anew, and then it fails":        {stale: true, alone: errAway},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				st := &brokenStore{Store: b.mem}
				s := b.sender(st, Options{})
				elsewhere := b.sender(b.mem, Options{})
				b.endpoint(&s.Tenant, host(1))
				var calls atomic.Int32
				gate := make(chan struct{})
				st.before = func(ctx context.Context, method string) error {
					if method != "Enqueue" {
						return nil
					}
					switch n := calls.Add(1); {
					case n == 1:
						<-gate
						return nil
					case n == 2:
						return nil
					case n <= 6: // the repetitions of the batch
						return errAway
					}
					if c.stale && calls.Load() == 7 {
						b.endpoint(&elsewhere.Tenant, host(2))
						return nil // Stale for all that are asked about from here on
					}
					if c.alone != nil {
						return c.alone
					}
					<-ctx.Done()
					return ctx.Err()
				}
				st.after = func(_ context.Context, method string) error {
					if method == "Enqueue" && calls.Load() == 2 {
						return store.ErrUnknownCommit
					}
					return nil
				}
				b.run(s)
				var wg sync.WaitGroup
				wg.Go(func() { b.send(&s.Tenant, "first") })
				synctest.Wait()
				ctx := t.Context()
				if c.leave > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.leave)
					defer cancel()
				}
				stored := map[string]bool{"first": true}
				for i := range 20 {
					id := fmt.Sprint("e", i)
					stored[id] = true
					wg.Go(func() {
						_, err := s.Send(ctx, Event{ID: id, Type: "a.b"})
						require.ErrorIs(t, err, ErrOutcomeUnknown, id)
						if c.leave > 0 {
							require.ErrorIs(t, err, context.DeadlineExceeded, id)
						}
					})
				}
				synctest.Wait()
				close(gate)
				wg.Wait()
				b.requireStored(&s.Tenant, stored)
				b.pass(time.Minute)
				require.True(t, s.lanes.idle())
			})
		})
	}
}

// The queue takes so many events and so much of their bodies, and no more.
func TestQueueIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		max, sent, size, room int
	}{
		"events":            {7, 20, 1, 7},
		"bodies":            {1000, 20, 5 << 20, 12},
		"no bound":          {-1, 20, 50 << 20, 20},
		"huge, if alone":    {1000, 5, 70 << 20, 1},
		"up to the byte":    {1000, 5, 32 << 20, 2},
		"one, at the least": {1, 5, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := &enqueuer{maxQueued: c.max, leading: true}
			var list []*member
			for i := range c.sent {
				m := newMember(store.Event{ID: fmt.Sprintf("e%05d", i)})
				m.size, m.until = c.size, time.Now().Add(time.Hour)
				list = append(list, m)
			}
			require.Equal(t, min(c.room, c.sent/2), q.join(list[:c.sent/2]...))
			joined := min(c.room, c.sent/2)
			require.Equal(t, c.room-joined, q.join(list[c.sent/2:]...))
			require.Equal(t, c.room, q.waiting.n)
			require.False(t, q.leave(list[0], errAway), "it waits")
			if c.max > 0 {
				require.Equal(t, 1, q.join(list[c.sent-1]), "who leaves makes room")
			}
			for batch := q.next(); len(batch) > 0; batch = q.next() {
				q.end(batch, nil)
			}
			require.Equal(t, [3]memberList{}, [3]memberList{q.waiting, q.alone, q.taken})
		})
	}
}

// A Send that finds the queue full is refused at once and nothing is stored.
func TestSendIntoAFullQueue(t *testing.T) {
	for name, send := range map[string]func(*Sender, context.Context, Event) error{
		"Send": func(s *Sender, ctx context.Context, e Event) error { _, err := s.Send(ctx, e); return err },
		"SendBatch": func(s *Sender, ctx context.Context, e Event) error {
			_, err := s.SendBatch(ctx, []Event{e})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				var seen batches
				st := &brokenStore{Store: b.mem}
				open := gated(st, &seen)
				s := b.start(st, Options{MaxQueued: 7})
				b.endpoint(&s.Tenant, host(1))
				stored := make(map[string]bool)
				var mu sync.Mutex
				var full atomic.Int32
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() {
						id := fmt.Sprint("e", i)
						err := send(s, t.Context(), Event{ID: id, Type: "a.b"})
						if err != nil {
							require.ErrorIs(t, err, ErrQueueFull)
							requireTruth(t, err, false)
							full.Add(1)
							return
						}
						mu.Lock()
						stored[id] = true
						mu.Unlock()
					})
					synctest.Wait()
				}
				require.EqualValues(t, 12, full.Load())
				require.Equal(t, 7, queued(s))
				open()
				wg.Wait()
				b.requireStored(&s.Tenant, stored)
				b.pass(time.Minute)
				require.True(t, s.lanes.idle())
				b.requireOnce(8, 1)
			})
		})
	}
}

// A SendBatch of more events than can wait does not stand in its own way.
func TestBatchLargerThanTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.start(b.mem, Options{MaxQueued: 10})
		b.endpoint(&s.Tenant, host(1))
		events := make([]Event, 2000)
		for i := range events {
			events[i].Type = "a.b"
		}
		receipts, err := s.SendBatch(t.Context(), events)
		require.NoError(t, err)
		require.Len(t, receipts, 2000)
		b.pass(time.Minute)
		b.requireOnce(2000, 1)
	})
}

// Joining and leaving allocate nothing, a batch its list.
func TestQueueAllocatesNothing(t *testing.T) {
	q := &enqueuer{maxQueued: 10, leading: true}
	m := newMember(store.Event{ID: "a", Scope: store.Scope{Mode: store.Live}})
	m.until = time.Now().Add(time.Hour)
	got := testing.AllocsPerRun(100, func() {
		require.Equal(t, 1, q.join(m))
		q.end(q.next(), nil)
		<-m.done
	})
	require.Equal(t, 1.0, got, "the batch")
}
