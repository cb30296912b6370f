package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

func openFile(t *testing.T, path string, opts *sqlite.Options) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), "file:"+path+noSync, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

func TestCallsShareCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.db")
	st := openFile(t, path, &sqlite.Options{BusyTimeout: time.Minute})
	// While the application writes, calls collect: else it would be luck if two met.
	tx, err := openApp(t, path).Begin()
	require.NoError(t, err)
	before := st.Commits()
	const callers, each = 64, 20
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for k := range each {
				if err := send(st, fmt.Sprintf("evt_%d_%d", i, k)); err != nil {
					t.Errorf("send: %v", err)
				}
			}
		})
	}
	for st.Waiting() < callers {
		runtime.Gosched()
	}
	require.NoError(t, tx.Rollback())
	wg.Wait()
	require.Less(t, st.Commits()-before, int64(callers*each), "no two calls shared a commit")
}

func TestMemberFailsAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.db")
	st := openFile(t, path, nil)
	db := openApp(t, path)
	// While the application writes, calls collect and then go in one transaction.
	tx, err := db.Begin()
	require.NoError(t, err)
	ep := store.Endpoint{Scope: scope, URLKey: "https://example.com/", Config: store.Config{State: store.Enabled}}
	var mu sync.Mutex
	var failed int
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			ep := ep
			ep.ID = fmt.Sprintf("ep_%d", i)
			_, err := st.CreateEndpoint(context.Background(), ep, store.ChangeParams{Action: store.Created})
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, store.ErrDuplicateURL) {
				failed++
			} else if err != nil {
				t.Errorf("CreateEndpoint: %v", err)
			}
		})
	}
	require.NoError(t, tx.Rollback())
	wg.Wait()
	require.Equal(t, 9, failed, "of ten endpoints with one URL, one is created")
	set, err := st.EndpointSet(t.Context(), scope)
	require.NoError(t, err)
	require.Len(t, set.Endpoints, 1)
	require.Equal(t, int64(1), set.Version, "failed members leave nothing")
}

func TestBusy(t *testing.T) {
	for _, name := range []string{"Open", "New"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			db := openApp(t, path)
			opts := &sqlite.Options{BusyTimeout: 50 * time.Millisecond}
			st, err := sqlite.New(db, opts)
			require.NoError(t, err)
			if name == "Open" {
				st = openFile(t, path, opts)
			}
			defer st.Close()
			tx, err := db.Begin()
			require.NoError(t, err)

			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					if err := send(st, fmt.Sprintf("evt_%d", i)); !errors.Is(err, store.ErrBusy) {
						t.Errorf("Enqueue beside an open transaction: %v, want ErrBusy", err)
					} else if !strings.Contains(err.Error(), "SendTx") {
						t.Errorf("the error %q does not name SendTx, the way out", err)
					}
				})
			}
			wg.Wait()

			// A caller that gives up hears of its own context.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = st.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{event("evt_c", nil)}})
			require.ErrorIs(t, err, context.Canceled)

			require.NoError(t, tx.Rollback())
			require.NoError(t, send(st, "evt_last"))
			evs, err := st.Events(t.Context(), scope, store.EventQuery{})
			require.NoError(t, err)
			require.Len(t, evs, 1, "calls that were refused wrote nothing")
			var ms int
			require.NoError(t, db.QueryRow("PRAGMA busy_timeout").Scan(&ms))
			require.Equal(t, 5000, ms, "the application's setting is back")
		})
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	st := openFile(t, path, nil)
	db := openApp(t, path)
	tx, err := db.Begin()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	for i := range 4 {
		go func() {
			_, err := st.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{event(fmt.Sprintf("evt_%d", i), nil)}})
			errs <- err
		}()
	}
	patient := make(chan error)
	go func() { patient <- send(st, "evt_patient") }()
	cancel()
	for range 4 {
		require.ErrorIs(t, <-errs, context.Canceled)
	}
	require.NoError(t, tx.Rollback())
	require.NoError(t, <-patient)
	evs, err := st.Events(t.Context(), scope, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, 1)
}

func TestPoolOfOne(t *testing.T) {
	db := openApp(t, filepath.Join(t.TempDir(), "app.db"))
	db.SetMaxOpenConns(1)
	st, err := sqlite.New(db, &sqlite.Options{BusyTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	defer st.Close()
	require.NoError(t, send(st, "evt_1"))
	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = st.Tx(tx).Enqueue(t.Context(), []store.NewEvent{event("evt_2", nil)})
	require.NoError(t, err)
	hooks, err := sender.New(st, &sender.Options{PlaintextSecrets: true})
	require.NoError(t, err)
	for name, call := range map[string]func(ctx context.Context) error{
		"Enqueue":     func(context.Context) error { return send(st, "evt_3") },
		"EndpointSet": func(ctx context.Context) error { _, err := st.EndpointSet(ctx, scope); return err },
		"Endpoint":    func(ctx context.Context) error { _, err := st.Endpoint(ctx, scope, "ep_1"); return err },
		"Events":      func(ctx context.Context) error { _, err := st.Events(ctx, scope, store.EventQuery{}); return err },
		"Send":        func(ctx context.Context) error { _, err := hooks.Send(ctx, sender.Event{Type: "a.b"}); return err },
		"CreateEndpoint": func(ctx context.Context) error {
			_, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com", EventTypes: []string{"*"}})
			return err
		},
		"New": func(context.Context) error {
			_, err := sqlite.New(db, &sqlite.Options{BusyTimeout: 50 * time.Millisecond})
			return err
		},
		"New that does not wait": func(context.Context) error {
			_, err := sqlite.New(db, &sqlite.Options{BusyTimeout: -1})
			return err
		},
	} {
		err := call(context.Background())
		require.ErrorIs(t, err, store.ErrBusy, "%s: its only connection is in use", name)
		require.ErrorContains(t, err, "no connection became free; inside a transaction use SendTx", name)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = st.EndpointSet(ended, scope)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, tx.Commit())
	st2, err := sqlite.New(db, &sqlite.Options{BusyTimeout: -1})
	require.NoError(t, err)
	_, err = st2.EndpointSet(t.Context(), scope)
	require.NoError(t, err, "a free connection is taken without waiting")
	require.NoError(t, st2.Close())
	require.NoError(t, send(st, "evt_4"))
	evs, err := st.Events(t.Context(), scope, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, 3)
}

// TestPlainSettings uses a handle as database/sql makes it: a rollback journal,
// no waiting for locks, deferred transactions.
func TestPlainSettings(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "app.db"))
	require.NoError(t, err)
	defer db.Close()
	st, err := sqlite.New(db, nil)
	require.NoError(t, err)
	defer st.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 10 {
				id := fmt.Sprintf("evt_%d_%d", i, k)
				if err := send(st, id); err != nil {
					t.Errorf("send: %v", err)
				}
				if _, err := st.Event(context.Background(), scope, id); err != nil {
					t.Errorf("Event: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestTxOfAStaleSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	st := openFile(t, path, nil)
	db, err := sql.Open("sqlite", path) // without _txlock=immediate
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRow("SELECT count(*) FROM hookpost_event").Scan(&n))
	require.NoError(t, send(st, "evt_1"))
	_, err = st.Tx(tx).Enqueue(t.Context(), []store.NewEvent{event("evt_2", nil)})
	require.ErrorIs(t, err, store.ErrBusy)
	require.NoError(t, tx.Rollback())

	_, err = st.Tx(nil).Enqueue(t.Context(), []store.NewEvent{event("evt_2", nil)})
	require.ErrorIs(t, err, store.ErrInvalid)
}

// TestProcesses writes from several processes into one file.
func TestProcesses(t *testing.T) {
	const variable, each = "HOOKPOST_TEST_FILE", 200
	if path := os.Getenv(variable); path != "" {
		st := openFile(t, path, nil)
		for i := range each {
			require.NoError(t, send(st, fmt.Sprintf("evt_%d_%d", os.Getpid(), i)))
		}
		return
	}
	path := filepath.Join(t.TempDir(), "hooks.db")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestProcesses$")
			cmd.Env = append(os.Environ(), variable+"="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	st := openFile(t, path, nil)
	seen := 0
	for q := (store.EventQuery{Limit: 1000}); ; {
		page, err := st.Events(t.Context(), scope, q)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		seen += len(page)
		q.Before = page[len(page)-1].Num
	}
	require.Equal(t, 3*each, seen)
}
