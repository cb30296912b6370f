package setup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
	"github.com/hookpost/hookpost/store/sqlite"
)

// Database names the database that processes share. One of File and DSN is set.
type Database struct {
	File string // SQLite
	DSN  string // PostgreSQL
	// Name is how PostgreSQL's sessions call themselves.
	Name string
	// Connections is how many the application has in its pool or handle, which the
	// store then shares with it. 0: on SQLite the store has a handle of its own.
	Connections int
	// Skew is how far the clock of a SQLite store is ahead of the process's. That of
	// PostgreSQL is the server's.
	Skew time.Duration
}

// Opened is a database in use.
type Opened struct {
	Store store.Store
	DB    *sql.DB       // the application's, if it is SQLite and shared
	Pool  *pgxpool.Pool // the application's, if it is PostgreSQL
}

// Open opens the database and brings its tables up to date.
func (d *Database) Open(ctx context.Context) (*Opened, error) {
	if d.DSN != "" {
		return d.openPostgres(ctx)
	}
	opts := &sqlite.Options{Clock: func() time.Time { return time.Now().Add(d.Skew) }}
	if d.Connections == 0 {
		st, err := sqlite.Open(ctx, d.File, opts)
		if err != nil {
			return nil, err
		}
		return &Opened{Store: st}, nil
	}
	db, err := sql.Open("sqlite", "file:"+d.File+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(d.Connections)
	db.SetMaxIdleConns(d.Connections)
	st, err := sqlite.New(db, opts)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Opened{Store: st, DB: db}, nil
}

func (d *Database) openPostgres(ctx context.Context) (*Opened, error) {
	config, err := pgxpool.ParseConfig(d.DSN)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["application_name"] = d.Name
	if d.Connections > 0 {
		config.MaxConns = int32(d.Connections)
	} else {
		config.MaxConns = 8
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := postgres.Migrate(ctx, pool, nil); err != nil {
		pool.Close()
		return nil, err
	}
	st, err := postgres.New(pool, nil)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &Opened{Store: st, Pool: pool}, nil
}

// Close ends the use.
func (o *Opened) Close() error {
	err := o.Store.Close()
	if o.DB != nil {
		err = errors.Join(err, o.DB.Close())
	}
	if o.Pool != nil {
		o.Pool.Close()
	}
	return err
}

// Hold takes all connections that the application shares with the store and gives
// them back after so long. It calls taken once it has them.
func (o *Opened) Hold(ctx context.Context, d time.Duration, taken func()) error {
	switch {
	case o.Pool != nil:
		for range o.Pool.Config().MaxConns {
			c, err := o.Pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer c.Release()
		}
	case o.DB != nil:
		for range o.DB.Stats().MaxOpenConnections {
			c, err := o.DB.Conn(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
		}
	default:
		return errors.New("setup: no connections are shared")
	}
	taken()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Exec runs a statement on a connection that the application shares with the
// store.
func (o *Opened) Exec(ctx context.Context, statement string) error {
	if o.DB == nil {
		return fmt.Errorf("setup: no handle is shared for %s", statement)
	}
	_, err := o.DB.ExecContext(ctx, statement)
	return err
}
