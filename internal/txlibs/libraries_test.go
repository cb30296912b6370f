package txlibs

import (
	"context"
	"database/sql"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // registers the driver "postgres"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	gormpg "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// transaction is one that the application has begun with some library.
type transaction struct {
	exec     func(statement string) error   // as the library does it
	through  func(*postgres.Store) store.Tx // as a store sees it
	commit   func() error
	rollback func() error
}

// libraries lists how each library begins a transaction, for the tests that follow
// to be run with all of them.
var libraries = []struct {
	name  string
	begin func(t *testing.T, w *world) transaction
}{
	{"pgx", beginPgx},
	{"pgx's stdlib", func(t *testing.T, w *world) transaction { return beginSQL(t, w.db(t, "pgx")) }},
	{"lib/pq", func(t *testing.T, w *world) transaction { return beginSQL(t, w.db(t, "postgres")) }},
	{"sqlx", beginSqlx},
	{"gorm", func(t *testing.T, w *world) transaction { return beginGorm(t, w, &gorm.Config{Logger: logger.Discard}) }},
	{"gorm that prepares", func(t *testing.T, w *world) transaction {
		return beginGorm(t, w, &gorm.Config{Logger: logger.Discard, PrepareStmt: true})
	}},
	{"ent", beginEnt},
	{"bun", beginBun},
}

func beginPgx(t *testing.T, w *world) transaction {
	ctx := context.WithoutCancel(t.Context())
	tx, err := w.pool.Begin(ctx)
	require.NoError(t, err)
	return transaction{
		exec:     func(s string) error { _, err := tx.Exec(ctx, s); return err },
		through:  func(st *postgres.Store) store.Tx { return st.Tx(tx) },
		commit:   func() error { return tx.Commit(ctx) },
		rollback: func() error { return tx.Rollback(ctx) },
	}
}

func beginSQL(t *testing.T, db *sql.DB) transaction {
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	return transaction{
		exec:     func(s string) error { _, err := tx.Exec(s); return err },
		through:  func(st *postgres.Store) store.Tx { return st.SQLTx(tx) },
		commit:   tx.Commit,
		rollback: tx.Rollback,
	}
}

func beginSqlx(t *testing.T, w *world) transaction {
	tx, err := sqlx.NewDb(w.db(t, "pgx"), "pgx").BeginTxx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	return transaction{
		exec:     func(s string) error { _, err := tx.NamedExec(s, map[string]any{}); return err },
		through:  func(st *postgres.Store) store.Tx { return st.SQLTx(tx) },
		commit:   tx.Commit,
		rollback: tx.Rollback,
	}
}

func beginGorm(t *testing.T, w *world, config *gorm.Config) transaction {
	db, err := gorm.Open(gormpg.New(gormpg.Config{Conn: w.db(t, "pgx")}), config)
	require.NoError(t, err)
	tx := db.WithContext(context.WithoutCancel(t.Context())).Begin()
	require.NoError(t, tx.Error)
	return transaction{
		exec:     func(s string) error { return tx.Exec(s).Error },
		through:  func(st *postgres.Store) store.Tx { return st.SQLTx(tx.Statement.ConnPool) },
		commit:   func() error { return tx.Commit().Error },
		rollback: func() error { return tx.Rollback().Error },
	}
}

// beginEnt uses what ent's clients are generated on. A generated client's Tx has
// the two methods too if it was generated with the feature sql/execquery.
func beginEnt(t *testing.T, w *world) transaction {
	ctx := context.WithoutCancel(t.Context())
	tx, err := entsql.OpenDB(dialect.Postgres, w.db(t, "pgx")).Tx(ctx)
	require.NoError(t, err)
	return transaction{
		exec:     func(s string) error { return tx.Exec(ctx, s, []any{}, nil) },
		through:  func(st *postgres.Store) store.Tx { return st.SQLTx(tx.(*entsql.Tx)) },
		commit:   tx.Commit,
		rollback: tx.Rollback,
	}
}

func beginBun(t *testing.T, w *world) transaction {
	ctx := context.WithoutCancel(t.Context())
	tx, err := bun.NewDB(w.db(t, "pgx"), pgdialect.New()).BeginTx(ctx, nil)
	require.NoError(t, err)
	return transaction{
		exec:     func(s string) error { _, err := tx.NewRaw(s).Exec(ctx); return err },
		through:  func(st *postgres.Store) store.Tx { return st.SQLTx(tx.Tx) },
		commit:   tx.Commit,
		rollback: tx.Rollback,
	}
}
