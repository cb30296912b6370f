package postgres_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// benchStore opens a store as applications do, with endpoints endpoints.
func benchStore(b *testing.B, endpoints int) (*postgres.Store, []store.Endpoint, int64) {
	b.Helper()
	pool := server.Pool(b)
	opts := &postgres.Options{Schema: server.Schema(b, "bench_")}
	require.NoError(b, postgres.Migrate(b.Context(), pool, opts))
	st, err := postgres.New(pool, opts)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, st.Close()) })
	scope := store.Scope{Tenant: "acme", Mode: store.Live}
	for i := range endpoints {
		url := fmt.Sprintf("https://example.com/hooks/%d", i)
		_, err := st.CreateEndpoint(b.Context(), store.Endpoint{
			Scope: scope, ID: fmt.Sprintf("ep_%d", i), URLKey: url,
			Config: store.Config{URL: url, EventTypes: []string{"*"}, State: store.Enabled},
		}, store.ChangeParams{Action: store.Created})
		require.NoError(b, err)
	}
	set, err := st.EndpointSet(b.Context(), scope)
	require.NoError(b, err)
	return st, set.Endpoints, set.Version
}

// batch returns n events with 1 KiB of body, each for one of the endpoints.
func batch(eps []store.Endpoint, version int64, from, n int, lease bool) []store.NewEvent {
	body := make([]byte, 1024)
	hash := sha256.Sum256(body)
	evs := make([]store.NewEvent, n)
	for i := range evs {
		k := from + i
		evs[i] = store.NewEvent{
			Event: store.Event{
				Scope: eps[0].Scope, ID: fmt.Sprintf("evt_0190a7c4%024d", k), Type: "payment.succeeded", CreatedAt: time.Now(),
				ContentType: "application/json", Body: body, Hash: hash, SetVersion: version,
			},
			For: []store.NewDelivery{{Endpoint: eps[k%len(eps)].Num, Lease: lease}},
		}
	}
	return evs
}

// BenchmarkEnqueue64 stores events with one delivery each in batches of 64.
func BenchmarkEnqueue64(b *testing.B) {
	for _, lease := range []bool{false, true} {
		b.Run(map[bool]string{false: "ready", true: "leased"}[lease], func(b *testing.B) {
			st, eps, version := benchStore(b, 100)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				evs := batch(eps, version, n, 64, lease)
				b.StartTimer()
				_, err := st.Enqueue(b.Context(), store.EnqueueParams{Events: evs, Owner: 1, Lease: time.Minute})
				require.NoError(b, err)
				n += len(evs)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func success(c store.Claimed) store.Settlement {
	return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Deliver, Attempt: &store.Attempt{
		N: c.Attempt, Took: 3 * time.Millisecond, Outcome: store.AttemptDelivered, URL: "https://example.com/hooks/1", Status: 200,
	}}
}

// BenchmarkLive stores deliveries leased and settles them, in calls of 1, 16 and 256:
// what a call costs whatever is in it, and what each delivery adds.
func BenchmarkLive(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			st, eps, version := benchStore(b, 100)
			b.ReportAllocs()
			n := 0
			var enqueue, settle time.Duration
			for b.Loop() {
				b.StopTimer()
				p := store.EnqueueParams{Events: batch(eps, version, n, size, true), Owner: 1, Lease: time.Minute}
				b.StartTimer()
				began := time.Now()
				stored, err := st.Enqueue(b.Context(), p)
				enqueue += time.Since(began)
				require.NoError(b, err)
				ss := make([]store.Settlement, size)
				for i, e := range stored {
					id := store.DeliveryID{Event: e.Event, Endpoint: p.Events[i].For[0].Endpoint}
					ss[i] = success(store.Claimed{ID: id, Token: 1, Attempt: 1})
				}
				began = time.Now()
				_, err = st.Settle(b.Context(), ss)
				settle += time.Since(began)
				require.NoError(b, err)
				n += size
			}
			b.ReportMetric(float64(enqueue.Microseconds())/float64(b.N), "us/enqueue")
			b.ReportMetric(float64(settle.Microseconds())/float64(b.N), "us/settle")
		})
	}
}

// BenchmarkClaimSettle100 claims and settles 100 deliveries at a time, with few
// and with many others pending, and beside a transaction that stays open.
func BenchmarkClaimSettle100(b *testing.B) {
	for _, c := range []struct {
		name      string
		pending   int
		endpoints int
		long      bool
	}{
		{"pending=10k", 10_000, 1000, false},
		{"pending=1M", 1_000_000, 1000, false},
		{"pending=10k,open transaction", 10_000, 1000, true},
		{"pending=10k,one endpoint", 10_000, 1, false},
		{"pending=10k,one endpoint,open transaction", 10_000, 1, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			if testing.Short() && c.pending > 100_000 {
				b.Skip("takes long to fill")
			}
			st, eps, version := benchStore(b, c.endpoints)
			n := 0
			fill := func(upTo int) {
				for n < upTo {
					evs := batch(eps, version, n, 1000, false)
					_, err := st.Enqueue(b.Context(), store.EnqueueParams{Events: evs})
					require.NoError(b, err)
					n += len(evs)
				}
			}
			fill(c.pending)
			if c.long {
				ctx := context.WithoutCancel(b.Context())
				tx, err := server.Pool(b).Begin(ctx)
				require.NoError(b, err)
				_, err = tx.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
				require.NoError(b, err)
				b.Cleanup(func() { _ = tx.Rollback(ctx) })
			}
			room := 10
			if c.endpoints == 1 {
				room = 100
			}
			p := store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 100, DefaultRoom: room, Bytes: 8 << 20, Window: 72 * time.Hour}
			done := 0
			var claiming time.Duration
			b.ReportAllocs()
			for b.Loop() {
				if done%10_000 == 0 {
					b.StopTimer()
					fill(c.pending + done)
					b.StartTimer()
				}
				began := time.Now()
				c, err := st.Claim(b.Context(), p)
				claiming += time.Since(began)
				require.NoError(b, err)
				p.After = c.After
				ss := make([]store.Settlement, len(c.Deliveries))
				for i, d := range c.Deliveries {
					ss[i] = success(d)
				}
				_, err = st.Settle(b.Context(), ss)
				require.NoError(b, err)
				done += len(ss)
			}
			b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(float64(claiming.Microseconds())/float64(b.N), "us/claim")
		})
	}
}
