package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
	"github.com/hookpost/hookpost/store/sqlite"
)

// database is the application's handle, and hookpost's store in the same database.
type database struct {
	*sql.DB
	name   string
	orders string // the shop's table
	store  store.Store
	// storeTx lets the store take part in a transaction of the handle's.
	storeTx func(*sql.Tx) store.Tx
	remove  []func() error // last first
}

// columns are understood by both databases.
const columns = " (id TEXT PRIMARY KEY, amount INTEGER NOT NULL)"

// openSQLite makes a temporary file.
func openSQLite(ctx context.Context) (_ *database, err error) {
	dir, err := os.MkdirTemp("", "hookpost-outbox-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "shop.db")
	d := &database{name: "SQLite " + path, orders: "orders"}
	d.onClose(func() error { return os.RemoveAll(dir) })
	defer d.closeOn(&err)

	// _txlock=immediate: a transaction takes the write lock when it begins, and so
	// never finds later that it can't have it.
	dsn := "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	d.DB = db
	d.onClose(db.Close)
	if _, err := d.ExecContext(ctx, "CREATE TABLE "+d.orders+columns); err != nil {
		return nil, err
	}
	st, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	d.onClose(st.Close)
	d.store, d.storeTx = st, st.Tx
	return d, nil
}

// openPostgres makes a schema that holds the shop's table and hookpost's.
func openPostgres(ctx context.Context, dsn string) (_ *database, err error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	schema := "outbox_example_" + strings.ToLower(rand.Text()[:8])
	d := &database{name: "PostgreSQL, schema " + schema, orders: schema + ".orders"}
	d.onClose(func() error { pool.Close(); return nil })
	defer d.closeOn(&err)

	opts := &postgres.Options{Schema: schema}
	if err := postgres.Migrate(ctx, pool, opts); err != nil { // makes the schema too
		return nil, err
	}
	d.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := pool.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE")
		return err
	})
	if _, err := pool.Exec(ctx, "CREATE TABLE "+d.orders+columns); err != nil {
		return nil, err
	}
	st, err := postgres.New(pool, opts)
	if err != nil {
		return nil, err
	}
	d.onClose(st.Close)
	// database/sql on the same pool, to have one shop for both databases. With pgx's
	// own transactions it would be st.Tx(tx).
	db := stdlib.OpenDBFromPool(pool)
	d.DB = db
	d.onClose(db.Close)
	d.store, d.storeTx = st, func(tx *sql.Tx) store.Tx { return st.SQLTx(tx) }
	return d, nil
}

func (d *database) onClose(f func() error) { d.remove = append(d.remove, f) }

func (d *database) close() error {
	var errs []error
	for i := len(d.remove) - 1; i >= 0; i-- {
		errs = append(errs, d.remove[i]())
	}
	return errors.Join(errs...)
}

func (d *database) closeOn(err *error) {
	if *err != nil {
		*err = errors.Join(*err, d.close())
	}
}
