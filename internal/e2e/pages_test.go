//go:build unix

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
	"github.com/hookpost/hookpost/store/sqlite"
)

const (
	shortLog     = 10_000
	longLog      = 100_000
	logEndpoints = 10
	logBatch     = 250
)

var logScope = store.Scope{Tenant: "acme", Mode: store.Live}

// BenchmarkPages asks for every page of the dashboard, with 10,000 deliveries in the
// log and with 100,000 or as many as HOOKPOST_PAGES says.
func BenchmarkPages(b *testing.B) {
	most := longLog
	if s := os.Getenv("HOOKPOST_PAGES"); s != "" {
		var err error
		most, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	for name, open := range map[string]func(b *testing.B) store.Store{"sqlite": openFile, "postgres": openSchema} {
		for _, n := range []int{shortLog, most} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				st := open(b)
				fill(b, st, n)
				measure(b, st)
			})
		}
	}
}

func openFile(b *testing.B) store.Store {
	st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "hooks.db"), nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, st.Close()) })
	return st
}

func openSchema(b *testing.B) store.Store {
	if server == nil {
		b.Skip("no PostgreSQL")
	}
	ctx := context.WithoutCancel(b.Context())
	pool, err := pgxpool.New(ctx, server.DSN("postgres"))
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	opts := &postgres.Options{Schema: fmt.Sprintf("pages_%d", time.Now().UnixNano())}
	require.NoError(b, postgres.Migrate(ctx, pool, opts))
	b.Cleanup(func() {
		_, err := pool.Exec(ctx, "DROP SCHEMA "+opts.Schema+" CASCADE")
		require.NoError(b, err)
	})
	st, err := postgres.New(pool, opts)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, st.Close()) })
	return st
}

// fill stores n events with a delivery each: of a hundred one is exhausted and two
// wait for a retry.
func fill(b *testing.B, st store.Store, n int) {
	b.Helper()
	ctx := b.Context()
	var eps []store.Endpoint
	for i := range logEndpoints {
		url := fmt.Sprintf("https://example.com/hooks/%d", i)
		ep, err := st.CreateEndpoint(ctx, store.Endpoint{
			Scope: logScope, ID: fmt.Sprintf("ep_%d", i), URLKey: url,
			Config: store.Config{URL: url, EventTypes: []string{"*"}, State: store.Enabled},
		}, store.ChangeParams{Action: store.Created, Actor: "ann"})
		require.NoError(b, err)
		eps = append(eps, ep)
	}
	set, err := st.EndpointSet(ctx, logScope)
	require.NoError(b, err)
	body := []byte(`{"id":"evt_1","type":"payment.succeeded","data":{"note":"` + strings.Repeat("x", 400) + `"}}`)
	for at := 0; at < n; at += logBatch {
		p := store.EnqueueParams{Owner: 1, Lease: time.Hour}
		for i := at; i < at+logBatch; i++ {
			p.Events = append(p.Events, store.NewEvent{
				Event: store.Event{
					Scope: logScope, ID: fmt.Sprintf("evt_%09d", i), Type: fmt.Sprintf("payment.type%d", i%10), CreatedAt: time.Now(),
					ContentType: "application/json", Body: body, SetVersion: set.Version, Refs: []string{fmt.Sprintf("cus_%d", i%10)},
				},
				For: []store.NewDelivery{{Endpoint: eps[i%logEndpoints].Num, Lease: true}},
			})
		}
		stored, err := st.Enqueue(ctx, p)
		require.NoError(b, err)
		var report []store.Settlement
		for i, e := range stored {
			s := store.Settlement{
				ID: store.DeliveryID{Event: e.Event, Endpoint: p.Events[i].For[0].Endpoint}, Token: 1, Verdict: store.Deliver,
				Attempt: &store.Attempt{N: 1, Took: 20 * time.Millisecond, Outcome: store.AttemptDelivered, Status: 200, URL: "https://example.com/hooks"},
			}
			if k := (at + i) / logEndpoints % 100; k < 3 {
				s.Attempt = &store.Attempt{
					N: 1, Took: time.Second, Outcome: store.AttemptFailed, Status: 500, URL: "https://example.com/hooks",
					Class: "status", Error: "the receiver answered 500", ResponseBody: body,
				}
				s.Verdict, s.Delay = store.Retry, 100*time.Hour
				if k == 0 {
					s.Verdict, s.Delay, s.Reason = store.Exhaust, 0, "given up"
				}
			}
			report = append(report, s)
		}
		_, err = st.Settle(ctx, report)
		require.NoError(b, err)
	}
}

// measure asks for each page.
func measure(b *testing.B, st store.Store) {
	b.Helper()
	hooks, err := sender.New(st, &sender.Options{PlaintextSecrets: true})
	require.NoError(b, err)
	pages, err := dashboard.New(hooks, func(*http.Request) (dashboard.Access, error) {
		return dashboard.Access{Accounts: []dashboard.Account{{Tenant: logScope.Tenant, Mode: logScope.Mode, Rights: dashboard.AllRights}}}, nil
	}, nil)
	require.NoError(b, err)
	defer pages.Close()
	all, err := hooks.For(logScope.Tenant, logScope.Mode).Deliveries(context.Background(), store.DeliveryQuery{Limit: 1000})
	require.NoError(b, err)
	last, some := all[0], all[len(all)-1]
	middle := store.DeliveryID{Event: last.ID.Event / 2}
	soon := time.Now().UTC().Add(time.Minute) // the field has minutes
	for _, page := range []struct{ name, path string }{
		{"endpoints", "endpoints"},
		{"endpoints search", "endpoints?q=hooks/7"},
		{"endpoint", "endpoints/ep_7"},
		{"edit", "endpoints/ep_7/edit"},
		{"disable", "endpoints/ep_7/disable"},
		{"log", "deliveries"},
		{"log middle", "deliveries?before=" + middle.String()},
		{"log endpoint", "deliveries?endpoint=ep_7"},
		{"log pending", "deliveries?state=pending"},
		{"log exhausted", "deliveries?state=exhausted"},
		{"log cancelled", "deliveries?state=cancelled"},
		{"log type", "deliveries?type=payment.type3"},
		{"log no type", "deliveries?type=none"},
		{"log endpoint cancelled", "deliveries?endpoint=ep_7&state=cancelled"},
		{"log reference", "deliveries?ref=cus_7"},
		{"log reference type", "deliveries?ref=cus_7&type=none"},
		{"log time", "deliveries?to=" + soon.Format("2006-01-02T15:04")},
		{"log event", "deliveries?event=" + some.EventID},
		{"delivery", "deliveries/" + some.ID.String()},
		{"events", "events"},
		{"events no type", "events?type=none"},
		{"events reference", "events?ref=cus_7"},
		{"event", "events/" + some.EventID},
		{"why", "events/" + some.EventID + "?why=ep_3"},
		{"recover", "recover"},
	} {
		b.Run(page.name, func(b *testing.B) {
			least := time.Hour
			for b.Loop() {
				began := time.Now()
				rec := httptest.NewRecorder()
				pages.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/live~acme/"+page.path, nil))
				least = min(least, time.Since(began))
				require.Equal(b, http.StatusOK, rec.Code, rec.Body)
			}
			b.ReportMetric(float64(least.Microseconds()), "us-at-least")
		})
	}
}
