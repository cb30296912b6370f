package sqlite_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

// benchStore opens a store as applications do, with endpoints endpoints.
func benchStore(b *testing.B, endpoints int) (*sqlite.Store, []store.Endpoint, int64) {
	b.Helper()
	st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "hooks.db"), nil)
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
// and with many others pending.
func BenchmarkClaimSettle100(b *testing.B) {
	for _, pending := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			if testing.Short() && pending > 100_000 {
				b.Skip("takes long to fill")
			}
			st, eps, version := benchStore(b, 1000)
			n := 0
			fill := func(upTo int) {
				for n < upTo {
					evs := batch(eps, version, n, 250, false)
					_, err := st.Enqueue(b.Context(), store.EnqueueParams{Events: evs})
					require.NoError(b, err)
					n += len(evs)
				}
			}
			fill(pending)
			p := store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 100, DefaultRoom: 10, Window: 72 * time.Hour}
			done := 0
			var claiming time.Duration
			b.ReportAllocs()
			for b.Loop() {
				if done%10_000 == 0 {
					b.StopTimer()
					fill(pending + done)
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
