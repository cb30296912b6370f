package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/hookpost/hookpost/verifier"
)

// schema: a row stays after its event is done, so that a repetition is recognised.
// It may be deleted when the sender will not repeat it any more; a month is ample.
const schema = `
CREATE TABLE IF NOT EXISTS inbox (
	id       TEXT PRIMARY KEY,           -- the event's
	type     TEXT NOT NULL,
	data     BLOB NOT NULL,              -- of the envelope, or else the whole body
	attempts INTEGER NOT NULL DEFAULT 0, -- that have failed
	due_at   INTEGER,                    -- microseconds since 1970; NULL: done, or given up
	error    TEXT                        -- of the last attempt; NULL: none, or done
) STRICT;
CREATE INDEX IF NOT EXISTS inbox_due ON inbox (due_at) WHERE due_at IS NOT NULL;`

// retries are the delays after a failure; after the last one an event is given up.
// Its row then has no due_at but an error, for a person to look at. An event that
// has no handler, or no type, is given up at once: a due_at hands it to a later
// version of the program that knows it.
var retries = []time.Duration{time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour}

// item is an event in the inbox.
type item struct {
	verifier.Event     // ID, Type and Data
	attempts       int // that have failed
}

// inbox is a table of events to be worked on.
type inbox struct {
	db      *sql.DB
	retries []time.Duration
	arrived chan struct{} // has an element when there is something new
}

// openInbox opens or creates the database. With synchronous=FULL what was
// acknowledged survives a power failure too.
func openInbox(ctx context.Context, path string) (*inbox, error) {
	dsn := "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("open inbox %s: %w", path, err), db.Close())
	}
	return &inbox{db: db, retries: retries, arrived: make(chan struct{}, 1)}, nil
}

func (b *inbox) close() error { return b.db.Close() }

// receive stores a verified event, once however often it is sent, and only then
// says 200. If it can't be stored the answer is 500, and the event comes again.
func (b *inbox) receive(w http.ResponseWriter, r *http.Request) {
	event, _ := verifier.FromContext(r.Context())
	data := []byte(event.Data)
	if data == nil {
		data = event.Body // it is no envelope
	}
	_, err := b.db.ExecContext(r.Context(),
		`INSERT INTO inbox (id, type, data, due_at) VALUES (?, ?, coalesce(?, x''), ?) ON CONFLICT (id) DO NOTHING`,
		event.ID, event.Type, data, time.Now().UnixMicro())
	if err != nil {
		slog.Error("event not stored", "id", event.ID, "error", err)
		http.Error(w, "try again later", http.StatusInternalServerError)
		return
	}
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// work hands the events that are due to handle, one at a time, until ctx ends.
//
// An event whose handling succeeded just before a crash is handled again after it:
// handle must be right to do twice, for which the event's ID is the key.
func (b *inbox) work(ctx context.Context, handle verifier.HandlerFunc) {
	for ctx.Err() == nil {
		it, wait, err := b.next(ctx)
		if err == nil && wait == 0 {
			err = b.settle(it, handle(ctx, it.Event), ctx.Err() != nil)
		}
		if err != nil && ctx.Err() == nil {
			slog.Error("inbox does not answer", "error", err)
			wait = time.Second
		}
		if wait == 0 {
			continue
		}
		select {
		case <-b.arrived:
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// next returns the event that is due, or how long to wait for one.
func (b *inbox) next(ctx context.Context) (it item, wait time.Duration, err error) {
	var due int64
	err = b.db.QueryRowContext(ctx,
		`SELECT id, type, data, attempts, due_at FROM inbox WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1`).
		Scan(&it.ID, &it.Type, (*[]byte)(&it.Data), &it.attempts, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return item{}, time.Minute, nil
	}
	if err != nil {
		return item{}, 0, err
	}
	return it, max(0, time.Until(time.UnixMicro(due))), nil
}

// settle writes down what became of an event. Work that was interrupted is left as
// it was, for the next start.
func (b *inbox) settle(it item, failure error, interrupted bool) error {
	if failure != nil && interrupted {
		return nil
	}
	var due, text any // NULL
	if failure != nil {
		text = failure.Error()
		hopeless := errors.Is(failure, verifier.ErrNoHandler) || errors.Is(failure, verifier.ErrUnreadable)
		if it.attempts < len(b.retries) && !hopeless {
			due = time.Now().Add(b.retries[it.attempts]).UnixMicro()
		}
		it.attempts++
		slog.Warn("event failed", "id", it.ID, "attempts", it.attempts, "given_up", due == nil, "error", failure)
	}
	// Without a context: the work is done and has to be noted, whatever ends meanwhile.
	_, err := b.db.Exec(`UPDATE inbox SET attempts = ?, due_at = ?, error = ? WHERE id = ?`, it.attempts, due, text, it.ID)
	return err
}
