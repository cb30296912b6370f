package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the SQL files that make and change hookpost's tables, named
// 001_init.sql and so on, for applications that run them with a migration tool
// of their own. They are to be run in order, each once and in a transaction, after
// CREATE SCHEMA hookpost. They name the schema hookpost; for another, replace every
// "hookpost." in them. Each records its number in the table hookpost.migration,
// where [Migrate] and [New] find it.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migrations // the directory is embedded above
	}
	return sub
}

// Migrate makes hookpost's schema and tables or brings them up to date, in one
// transaction. It may be called by many processes at once: one works and the others
// wait for it. When there is nothing to do it takes no lock and needs no rights but
// to read.
//
// Else the role of the pool's connections must own the schema, or be allowed to
// CREATE in the database if there is none, and becomes the tables' owner. To run
// the application under another role, grant it USAGE on the schema and its
// sequences, and SELECT, INSERT, UPDATE and DELETE on the tables.
//
// It returns [store.ErrNewerSchema] if the tables are from a newer version of
// this package, [store.ErrReadOnly] if they must be changed and can't be, and
// [ErrEncoding] if the database can't hold what they are for.
func Migrate(ctx context.Context, pool *pgxpool.Pool, opts *Options) error {
	if pool == nil {
		return fmt.Errorf("%w: pool is nil", store.ErrInvalid)
	}
	schema, err := opts.schema()
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return explainConnect(ctx, pool, err)
	}
	defer conn.Release()
	if err := checkEncoding(ctx, conn); err != nil {
		return err
	}
	err = checkMigrated(ctx, conn, schema)
	if !errors.Is(err, store.ErrNotMigrated) {
		return err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return explain(ctx, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing, once committed
	if err := migrate(ctx, tx, schema); err != nil {
		if code(err) == codeNoRights {
			return fmt.Errorf("postgres: the database role may not make hookpost's tables in schema %s; "+
				"it must own the schema, or may CREATE in the database: %w", pgx.Identifier{schema}.Sanitize(), err)
		}
		return explain(ctx, err)
	}
	return commit(ctx, tx)
}

func migrate(ctx context.Context, tx pgx.Tx, schema string) error {
	// Two schemas may share a number; they only wait for each other.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('hookpost.migrate ' || $1::text, 0))", schema); err != nil {
		return err
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := readVersion(ctx, tx, schema) // again, now that nobody else migrates
	if err != nil {
		return err
	}
	if version > len(files) {
		return checkVersion(version, len(files))
	}
	var there bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema).Scan(&there); err != nil {
		return err
	}
	name := pgx.Identifier{schema}.Sanitize()
	if !there {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
			return err
		}
	}
	for ; version < len(files); version++ {
		text, err := migrations.ReadFile(files[version])
		if err != nil {
			return err
		}
		script := strings.ReplaceAll(string(text), "hookpost.", name+".")
		if _, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll(); err != nil {
			return fmt.Errorf("migration %s: %w", files[version], err)
		}
	}
	return nil
}

// rower is what a pool, a connection and a transaction of pgx have in common.
type rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func checkMigrated(ctx context.Context, db rower, schema string) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := readVersion(ctx, db, schema)
	if err != nil {
		return explain(ctx, err)
	}
	return checkVersion(version, len(files))
}

func checkVersion(have, want int) error {
	switch {
	case have > want:
		return fmt.Errorf("%w: its tables have version %d, this program knows %d; use a newer hookpost", store.ErrNewerSchema, have, want)
	case have < want:
		return fmt.Errorf("%w: its tables have version %d and must have %d; run postgres.Migrate", store.ErrNotMigrated, have, want)
	}
	return nil
}

// readVersion returns 0 if there are no tables.
func readVersion(ctx context.Context, db rower, schema string) (version int, err error) {
	var there bool
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = 'migration')`, schema).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	err = db.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM "+pgx.Identifier{schema, "migration"}.Sanitize()).Scan(&version)
	return version, err
}
