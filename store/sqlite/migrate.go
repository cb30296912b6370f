package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/hookpost/hookpost/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the SQL files that make and change hookpost's tables, named
// 001_init.sql and so on, for applications that run them with a migration tool
// of their own. They are to be run in order, each once and in a transaction. Each
// records its number in the table hookpost_schema, where [Migrate] and [New]
// find it.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migrations // the directory is embedded above
	}
	return sub
}

// Migrate makes hookpost's tables in db or brings them up to date, in one
// transaction. All their names begin with hookpost_. It may be called by many
// processes at once and does nothing, not even take a lock, when there is nothing
// to do. Waiting for other writers ends with ctx, or after 5 seconds with
// [store.ErrBusy].
//
// It returns [store.ErrNewerSchema] if the tables are from a newer version of
// this package, and [store.ErrReadOnly] if they must be changed and can't be.
func Migrate(ctx context.Context, db *sql.DB) error {
	if db == nil {
		return errNoDB
	}
	w := writer{pool: pool{db: db}, wait: defaultBusyTimeout}
	return migrate(ctx, &w)
}

// migrate is Migrate through a store's writer.
func migrate(ctx context.Context, w *writer) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, w.pool, w.wait)
	if err != nil {
		return err
	}
	if version == len(files) {
		return nil
	}
	if err := checkVersion(version, len(files)); err != nil && version > len(files) {
		return err
	}
	return w.do(ctx, func(c *conn) error {
		version, err := readVersion(c) // again, now that nobody else migrates
		if err != nil {
			return err
		}
		for ; version < len(files); version++ {
			text, err := migrations.ReadFile(files[version])
			if err != nil {
				return err
			}
			if err := c.script(string(text)); err != nil {
				return fmt.Errorf("migration %s: %w", files[version], err)
			}
		}
		return checkVersion(version, len(files))
	})
}

// checkMigrated is for stores that must not migrate.
func checkMigrated(ctx context.Context, p pool, wait time.Duration) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, p, wait)
	if err != nil {
		return err
	}
	return checkVersion(version, len(files))
}

func checkVersion(have, want int) error {
	switch {
	case have > want:
		return fmt.Errorf("%w: its tables have version %d, this program knows %d; use a newer hookpost", store.ErrNewerSchema, have, want)
	case have < want:
		return fmt.Errorf("%w: its tables have version %d and must have %d", store.ErrNotMigrated, have, want)
	}
	return nil
}

// schemaVersion reads the version outside of any transaction of ours.
func schemaVersion(ctx context.Context, p pool, wait time.Duration) (version int, err error) {
	err = readWith(ctx, p, wait, func(c *conn) error {
		version, err = readVersion(c)
		return err
	})
	return version, err
}

// readVersion returns 0 if there are no tables.
func readVersion(x execer) (int, error) {
	found, err := first(x, func(row) {}, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'hookpost_schema'")
	if err != nil || !found {
		return 0, err
	}
	var version int64
	_, err = first(x, func(r row) { version = r.int(0) }, "SELECT max(version) FROM hookpost_schema")
	return int(version), err
}
