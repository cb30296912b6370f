package postgres

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hookpost/hookpost/store"
)

// Tx returns tx, a transaction of the application's on the store's database, as
// the store sees it: what is enqueued or erased through it is so if and only if tx
// commits. No lock is taken but on the events' own ids, and by Erase on the events and
// their deliveries: another Send of the same id waits for tx, for about 100 ms, and
// one in another transaction until tx ends. Results of attempts under way of what is
// erased wait until tx ends, and their endpoints get no new attempt meanwhile, so that a
// transaction that has erased should end soon.
//
// A transaction on another database is refused with [store.ErrForeignTx], but for one on a
// copy of the store's, such as a restored dump or a database that was made with it as
// TEMPLATE: nothing tells these apart.
//
// Erase sees what tx sees. If that is REPEATABLE READ or SERIALIZABLE, a replay that was
// asked for after it began stays pending, and is given up without an attempt once the
// payload is gone.
func (s *Store) Tx(tx pgx.Tx) store.Tx {
	t := &storeTx{store: s}
	if tx != nil {
		t.q = pgxQuerier{s.inTx, tx}
	}
	return t
}

// SQLTx is [Store.Tx] for transactions of database/sql, whether its driver is
// pgx's stdlib or lib/pq, and of what is built on it: *sql.Tx, *sqlx.Tx, gorm's
// tx.Statement.ConnPool and ent's transaction have these two methods. Of bun's Tx
// pass the inner one, tx.Tx: bun interprets parameters itself.
//
// A pool of connections such as *sql.DB has the methods too, but nothing would be
// part of a transaction: the methods of the result return [store.ErrInvalid] then,
// and for bun's own types as well.
func (s *Store) SQLTx(tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) store.Tx {
	t := &storeTx{store: s, wrong: wrongKind(tx)}
	if v := reflect.ValueOf(tx); tx != nil && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		t.q = sqlQuerier{s.inTx, tx}
	}
	return t
}

// wrongKind says what is wrong with something that has the methods of a transaction
// and is none.
func wrongKind(tx any) error {
	if tx == nil {
		return nil // storeTx.do says so
	}
	typ := reflect.TypeOf(tx)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.PkgPath() == "github.com/uptrace/bun" {
		return fmt.Errorf("%w: %s interprets parameters itself; pass its inner transaction, tx.Tx", store.ErrInvalid, typ)
	}
	_, pool := tx.(interface{ SetMaxOpenConns(n int) })           // *sql.DB, and what embeds it
	_, prepared := tx.(interface{ GetDBConn() (*sql.DB, error) }) // gorm's
	_, driver := tx.(interface{ DB() *sql.DB })                   // ent's
	_, commits := tx.(interface{ Commit() error })
	if pool || (prepared || driver) && !commits {
		return fmt.Errorf("%w: %T is a pool of connections and not a transaction", store.ErrInvalid, tx)
	}
	return nil
}

type storeTx struct {
	store     *Store
	q         querier
	wrong     error  // why q can't be used
	isolation string // "" until it is known, and with it that the database is the store's
}

// Store returns the store that made the transaction.
func (t *storeTx) Store() store.Store { return t.store }

// EndpointSet implements [store.Tx].
func (t *storeTx) EndpointSet(ctx context.Context, scope store.Scope) (set store.EndpointSet, err error) {
	err = t.do(ctx, func() error {
		var at place
		set, at, err = endpointSet(ctx, t.q, scope)
		if err == nil {
			err = t.is(at)
		}
		return err
	})
	if err != nil {
		return store.EndpointSet{}, err
	}
	return set, nil
}

// Enqueue implements [store.Tx]. In a transaction that is REPEATABLE READ or
// SERIALIZABLE it sets a savepoint, because there an id that somebody has stored
// since the transaction began would fail it.
func (t *storeTx) Enqueue(ctx context.Context, events []store.NewEvent) (out []store.Enqueued, err error) {
	if err := store.CheckEvents(events, true); err != nil {
		return nil, err
	}
	e := newEnqueuer(store.EnqueueParams{Events: events}, false, &t.store.targets)
	err = t.do(ctx, func() error {
		if len(events) == 0 {
			return ctx.Err()
		}
		if t.isolation == "" {
			var at place
			err := t.q.row(ctx, "SELECT "+selectPlace, nil, &at.store, &at.isolation)
			if err == nil {
				err = t.is(at)
			}
			if err != nil {
				return err
			}
		}
		for len(e.open) > 0 {
			if err := t.insert(ctx, e); err != nil {
				return err
			}
			if len(e.open) == 0 {
				break
			}
			if err := e.lookUpJSON(ctx, t.q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e.out, nil
}

// Erase implements [store.Tx].
func (t *storeTx) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (out store.Erased, err error) {
	if err := store.CheckErase(scope, p); err != nil {
		return out, err
	}
	p.After, p.Limit = 0, store.MaxEraseTx
	err = t.do(ctx, func() error {
		out, err = eraseStep(ctx, t.q, scope, p, &t.store.id)
		return err
	})
	if err != nil {
		return store.Erased{}, err
	}
	return out, nil
}

// is takes note of where the transaction is, which must be the store's database.
func (t *storeTx) is(at place) error {
	if at.store != t.store.id {
		return errForeignTx
	}
	t.isolation = at.isolation
	return nil
}

var errForeignTx = fmt.Errorf("%w, or its tables were made anew since the store was opened", store.ErrForeignTx)

// insert stores what is new and leaves the rest open.
func (t *storeTx) insert(ctx context.Context, e *enqueuer) error {
	text, param, err := e.statementJSON()
	if err != nil {
		return err
	}
	run := func() error {
		err := t.q.query(ctx, text, []any{param}, e.take)
		if err == nil {
			err = e.bad
		}
		if err == nil {
			e.close()
		}
		return err
	}
	if t.isolation != "repeatable read" && t.isolation != "serializable" {
		return run()
	}
	if _, err := t.q.exec(ctx, "SAVEPOINT hookpost"); err != nil {
		return err
	}
	err = run()
	if err == nil || errors.Is(err, store.ErrInvalid) {
		_, e := t.q.exec(ctx, "RELEASE SAVEPOINT hookpost")
		return errors.Join(err, e)
	}
	clean := context.WithoutCancel(ctx) // a context that has ended could undo nothing
	if _, e := t.q.exec(clean, "ROLLBACK TO SAVEPOINT hookpost"); e != nil {
		return errors.Join(err, e)
	}
	if code(err) != codeSerialization {
		return err
	}
	// Some id was committed since the transaction began. It is out of its sight, and
	// another connection may not be had: the application's transactions can hold all
	// of the pool, and wait for this one.
	look, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	open := len(e.open)
	if t.store.read(look, func(q querier) error { return e.lookUpJSON(look, q) }) != nil {
		return err
	}
	if len(e.open) == open {
		return err
	}
	return nil
}

// lookUpTime bounds the wait for a second connection.
const lookUpTime = 2 * time.Second

func (t *storeTx) do(ctx context.Context, f func() error) error {
	if t.q == nil {
		return fmt.Errorf("%w: the transaction is nil", store.ErrInvalid)
	}
	if t.wrong != nil {
		return t.wrong
	}
	if err := t.store.enter(); err != nil {
		return err
	}
	defer t.store.calls.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := explain(ctx, f())
	if errors.Is(err, store.ErrNotMigrated) { // the store's own database is
		err = fmt.Errorf("%w: %w", errForeignTx, err)
	}
	return err
}

// What the statements of [enqueueText] read from JSON.
type (
	jsonBatch struct {
		Events  []jsonEvent   `json:"events"`
		Unknown []jsonUnknown `json:"unknown"`
		Lists   []jsonList    `json:"lists"`
	}
	jsonEvent struct {
		Ord         int    `json:"ord"`
		Tenant      string `json:"tenant"`
		Mode        int    `json:"mode"`
		ID          string `json:"id"`
		Type        string `json:"type"`
		Created     int64  `json:"created"`
		SetVersion  int64  `json:"set_version"`
		ContentType string `json:"content_type"`
		Delay       int64  `json:"delay"`
		Hash        string `json:"hash"`
		Refs        string `json:"refs"`
		Trace       string `json:"trace,omitempty"`
		Body        string `json:"body"`

		Targets []int64 `json:"targets"`
	}
	jsonUnknown struct {
		Ord      int    `json:"ord"`
		Tenant   string `json:"tenant"`
		Mode     int    `json:"mode"`
		Endpoint int64  `json:"endpoint"`
	}
	jsonList struct {
		Ord       int    `json:"ord"`
		Part      int    `json:"part"`
		Endpoints string `json:"endpoints"`
	}
)

// statementJSON is statement with one parameter, a text, that every driver and
// every way of sending parameters can carry.
func (e *enqueuer) statementJSON() (text, param string, err error) {
	parts := enqueueParts{json: true, delays: true}
	var b jsonBatch
	for k, i := range e.open {
		ev := &e.Events[i]
		j := describe(k, ev)
		j.Refs, j.Trace, j.Body = encodeRefs(ev.Refs), ev.Trace, base64.StdEncoding.EncodeToString(ev.Body)
		parts.refs = parts.refs || len(ev.Refs) > 0
		for _, d := range ev.For {
			if !e.targets.knows(d.Endpoint, ev.Scope) {
				b.Unknown = append(b.Unknown, jsonUnknown{j.Ord, j.Tenant, j.Mode, d.Endpoint})
				parts.check = true
			}
		}
		if len(ev.For) > store.MaxFanOut {
			eachPart(ev.For, func(part int, endpoints string) { b.Lists = append(b.Lists, jsonList{j.Ord, part, endpoints}) })
			parts.lists = true
		} else {
			for _, d := range ev.For {
				j.Targets = append(j.Targets, d.Endpoint)
			}
		}
		b.Events = append(b.Events, j)
	}
	raw, err := json.Marshal(&b)
	return enqueueText(parts), string(raw), err
}

func describe(k int, ev *store.NewEvent) jsonEvent {
	return jsonEvent{
		Ord: k + 1, Tenant: ev.Tenant, Mode: int(ev.Mode), ID: ev.ID, Type: ev.Type, Created: ev.CreatedAt.UnixMicro(),
		SetVersion: ev.SetVersion, ContentType: ev.ContentType, Delay: micros(max(ev.Delay, 0)), Hash: hex.EncodeToString(ev.Hash[:]),
	}
}

const selectKnownJSON = `SELECT t.ord, e.num, e.type = t.type AND e.hash = decode(t.hash, 'hex') FROM
	json_to_recordset($1::text::json -> 'events') AS t(ord int, tenant text, mode smallint, id text, type text, hash text)
	JOIN hookpost.event e ON e.tenant = t.tenant AND e.mode = t.mode AND e.id = t.id`

// lookUpJSON is lookUp through a transaction.
func (e *enqueuer) lookUpJSON(ctx context.Context, q querier) error {
	var b jsonBatch
	for k, i := range e.open {
		b.Events = append(b.Events, describe(k, &e.Events[i]))
	}
	param, err := json.Marshal(&b)
	if err != nil {
		return err
	}
	if err := q.query(ctx, selectKnownJSON, []any{string(param)}, e.known); err != nil {
		return err
	}
	e.close()
	return nil
}
