package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

var scope = store.Scope{Tenant: "acme", Mode: store.Live}

func event(id string, body []byte) store.NewEvent {
	return store.NewEvent{Event: store.Event{
		Scope: scope, ID: id, Type: "a.b", ContentType: "application/json", Body: body,
	}}
}

// send stores an event for nobody.
func send(st store.Store, id string) error {
	_, err := st.Enqueue(context.Background(), store.EnqueueParams{Events: []store.NewEvent{event(id, []byte("{}"))}})
	return err
}

func TestOpenKeepsWhatWasStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name?#%41.db")
	st, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	require.True(t, st.Durable())
	require.NoError(t, send(st, "evt_1"))
	require.NoError(t, st.Close())
	require.FileExists(t, path)

	st, err = sqlite.Open(t.Context(), path, &sqlite.Options{NoMigrate: true})
	require.NoError(t, err)
	ev, err := st.Event(t.Context(), scope, "evt_1")
	require.NoError(t, err)
	require.Equal(t, "{}", string(ev.Body))
	require.NoError(t, st.Close())
}

// A relative path stays the file that it was, wherever the process goes: connections are
// opened later too.
func TestOpenRelativePath(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	for path, file := range map[string]string{
		"hooks.db":                  "hooks.db",
		"./dotted.db":               "dotted.db",
		"sub/../sub/deep.db":        "sub/deep.db",
		"odd name?#%41.db":          "odd name?#%41.db",
		"file:uri.db":               "uri.db",
		"file:./dotted-uri.db":      "dotted-uri.db",
		"file:sub/uri.db":           "sub/uri.db",
		"file:odd%20%3F%23%2541.db": "odd ?#%41.db",
		"file:parameters.db?_pragma=cache_size(-2000)&cache=private": "parameters.db",
		"file:fragment.db#a?_pragma=cache_size(-2000)":               "fragment.db",
		"file::memory:.db":                    ":memory:.db",
		"file:" + dir + "/rooted.db":          "rooted.db",
		"file://" + dir + "/triple.db":        "triple.db",
		"file://localhost" + dir + "/host.db": "host.db",
	} {
		t.Run(path, func(t *testing.T) {
			t.Chdir(dir)
			st, err := sqlite.Open(t.Context(), path, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, st.Close()) }()
			require.FileExists(t, file)
			t.Chdir(t.TempDir())
			// The connection that reads has not been needed before.
			_, err = st.Event(t.Context(), scope, "evt_1")
			require.ErrorIs(t, err, store.ErrNotFound)
			require.NoError(t, send(st, "evt_1"))
			here, err := os.ReadDir(".")
			require.NoError(t, err)
			require.Empty(t, here)
		})
	}
}

func TestOpenIsDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.db")
	st, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	defer st.Close()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	var mode string
	require.NoError(t, db.QueryRow("PRAGMA journal_mode").Scan(&mode))
	require.Equal(t, "wal", mode)
}

// TestOpenInAnotherJournalMode: the application's parameters win, and all connections
// agree about it.
func TestOpenInAnotherJournalMode(t *testing.T) {
	for _, parameter := range []string{"_pragma=journal_mode(TRUNCATE)", "_pragma=journal_mode=truncate", "_journal_mode=TRUNCATE", "_journal=TRUNCATE"} {
		t.Run(parameter, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hooks.db")
			st, err := sqlite.Open(t.Context(), "file:"+path+noSync+"&"+parameter, nil)
			require.NoError(t, err)
			defer st.Close()
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					id := fmt.Sprintf("evt_%d", i)
					if err := send(st, id); err != nil {
						t.Errorf("send: %v", err)
					}
					if _, err := st.Event(context.Background(), scope, id); err != nil {
						t.Errorf("Event: %v", err)
					}
				})
			}
			wg.Wait()
			require.NoFileExists(t, path+"-wal")
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.db")
	require.NoError(t, os.WriteFile(junk, []byte("this is a letter and no database, though it is long enough to have a header of one hundred bytes in it"), 0o600))
	bare := filepath.Join(dir, "bare.db")
	require.NoError(t, execFile(bare, "CREATE TABLE payments (id INTEGER)"))
	newer := filepath.Join(dir, "newer.db")
	migrated(t, newer)
	require.NoError(t, execFile(newer, "INSERT INTO hookpost_schema (version) VALUES (1000)"))
	fine := filepath.Join(dir, "fine.db")
	migrated(t, fine)

	for _, c := range []struct {
		name, path string
		opts       *sqlite.Options
		want       error
		says       string
	}{
		{"empty path", "", nil, store.ErrInvalid, "not a file"},
		{"in memory", ":memory:", nil, store.ErrInvalid, "store/memory"},
		{"in memory, as a URI", "file:x?mode=memory", nil, store.ErrInvalid, "store/memory"},
		{"in memory by name", "file::memory:", nil, store.ErrInvalid, "store/memory"},
		{"in memory by an escaped name", "file:%3Amemory%3A?cache=shared", nil, store.ErrInvalid, "store/memory"},
		{"a URI without a path", "file:?mode=rwc", nil, store.ErrInvalid, "not a file"},
		{"a URI with a host alone", "file://hooks.db", nil, store.ErrInvalid, "host"},
		{"a URI with half an escape", "file:a%4", nil, store.ErrInvalid, "escape"},
		{"a URI with a NUL", "file:a%00b", nil, store.ErrInvalid, "NUL"},
		{"NUL", "a\x00b", nil, store.ErrInvalid, "NUL"},
		{"not a database", junk, nil, nil, "not a SQLite database"},
		{"no such directory", filepath.Join(dir, "none", "hooks.db"), nil, nil, "directory"},
		{"newer version", newer, nil, store.ErrNewerSchema, "1000"},
		{"newer version, not migrating", newer, &sqlite.Options{NoMigrate: true}, store.ErrNewerSchema, "1000"},
		{"no tables, not migrating", bare, &sqlite.Options{NoMigrate: true}, store.ErrNotMigrated, "version 0"},
		{"read-only", "file:" + fine + "?mode=ro", nil, store.ErrReadOnly, "read-only"},
		{"query only", "file:" + fine + "?_pragma=query_only(1)", nil, store.ErrReadOnly, "read-only"},
		{"read-only without tables", "file:" + bare + "?_pragma=query_only(1)", nil, store.ErrReadOnly, "read-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, err := sqlite.Open(t.Context(), c.path, c.opts)
			require.Error(t, err)
			require.Nil(t, st)
			require.Contains(t, err.Error(), c.says)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	require.ErrorIs(t, sqlite.Migrate(t.Context(), nil), store.ErrInvalid)
	_, err := sqlite.New(nil, nil)
	require.ErrorIs(t, err, store.ErrInvalid)

	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	defer db.Close()
	_, err = sqlite.New(db, nil)
	require.ErrorIs(t, err, store.ErrInvalid)

	path := filepath.Join(t.TempDir(), "app.db")
	app := openApp(t, path)
	_, err = sqlite.New(app, &sqlite.Options{NoMigrate: true})
	require.ErrorIs(t, err, store.ErrNotMigrated)
	require.NoError(t, sqlite.Migrate(t.Context(), app))
	st, err := sqlite.New(app, &sqlite.Options{NoMigrate: true})
	require.NoError(t, err)
	require.NoError(t, st.Close())
}

func execFile(path, query string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(query)
	return err
}

// migrated makes a file with hookpost's tables.
func migrated(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	require.NoError(t, sqlite.Migrate(t.Context(), db))
	require.NoError(t, db.Close())
}

func TestMigrateByManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	var wg sync.WaitGroup
	for range 4 {
		db := openApp(t, path)
		for range 4 {
			wg.Go(func() {
				if err := sqlite.Migrate(context.Background(), db); err != nil {
					t.Errorf("Migrate: %v", err)
				}
			})
		}
	}
	for range 4 {
		wg.Go(func() {
			st, err := sqlite.Open(context.Background(), path, nil)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if err := st.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestMigrationsRunByHand(t *testing.T) {
	db := openApp(t, filepath.Join(t.TempDir(), "app.db"))
	files := sqlite.Migrations()
	text, err := files.Open("001_init.sql")
	require.NoError(t, err)
	defer text.Close()
	all := make([]byte, 1<<20)
	n, err := text.Read(all)
	require.NoError(t, err)
	_, err = db.Exec(string(all[:n]))
	require.NoError(t, err)
	st, err := sqlite.New(db, &sqlite.Options{NoMigrate: true})
	require.NoError(t, err)
	require.NoError(t, st.Close())
}

func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.db")
	st, err := sqlite.Open(t.Context(), "file:"+path+noSync+"&_pragma=max_page_count(200)", nil)
	require.NoError(t, err)
	defer st.Close()
	body := make([]byte, 100<<10)
	stored := 0
	for range 20 {
		_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{event(time.Now().String(), body)}})
		if err != nil {
			break
		}
		stored++
	}
	require.ErrorIs(t, err, store.ErrFull)
	require.Positive(t, stored)
	evs, err := st.Events(t.Context(), scope, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, stored, "what was acknowledged is there, and nothing else")
	require.NoError(t, send(st, "small"), "a small event still finds room")
}

func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.db")
	migrated(t, path)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := 4096; i < len(raw); i++ {
		raw[i] ^= 0x5a
	}
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	st, err := sqlite.Open(t.Context(), path, nil)
	if err == nil {
		err = send(st, "evt_1")
		require.NoError(t, st.Close())
	}
	require.ErrorContains(t, err, "damaged")
}

func TestClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.db")
	own, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	db := openApp(t, path)
	guest, err := sqlite.New(db, nil)
	require.NoError(t, err)
	for _, st := range []*sqlite.Store{own, guest} {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { _ = st.Close() })
			wg.Go(func() {
				// Either it came before Close and works, or it hears of it.
				if _, err := st.Claim(context.Background(), store.ClaimParams{Limit: 1}); err != nil && !errors.Is(err, store.ErrClosed) {
					t.Errorf("Claim: %v", err)
				}
			})
		}
		wg.Wait()
		require.ErrorIs(t, send(st, "evt_1"), store.ErrClosed)
		_, err := st.Now(t.Context())
		require.ErrorIs(t, err, store.ErrClosed)
		require.NoError(t, st.Close())
	}
	require.NoError(t, db.Ping(), "New's handle stays open")
}
