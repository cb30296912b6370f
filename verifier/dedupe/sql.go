package dedupe

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/verifier"
)

// DefaultClaimFor is how long a claim in a database lasts by default: 5
// minutes, after which hookpost's first retry comes.
const DefaultClaimFor = 5 * time.Minute

// DefaultTable is the default name of the table of an [SQL].
const DefaultTable = "webhook_dedupe"

// ErrNoClaim says that [SQL.MarkTx] was called outside of a handler that this
// SQL guards.
var ErrNoClaim = errors.New("dedupe: the context has no claim of this SQL; set it as verifier.Options.Dedupe, and pass the context that the handler got")

// Execer is what [SQL.MarkTx] asks of a transaction. *sql.Tx and *sqlx.Tx have
// it, and so do the Tx inside a bun.Tx, ent's if generated with sql/execquery,
// and the Statement.ConnPool of a *gorm.DB. For a pgx.Tx, write a type whose
// ExecContext calls Exec and returns driver.RowsAffected(tag.RowsAffected()).
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// DB is what an [SQL] asks of a database: *sql.DB has it. For a pgxpool.Pool,
// use stdlib.OpenDBFromPool of pgx.
type DB interface {
	Execer
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// SQLOptions configures an [SQL]. The zero value, like nil, means the
// defaults.
type SQLOptions struct {
	// Table is the name of the table, with its schema if need be: lower-case
	// letters, digits and '_', at most 50 for each part. Default DefaultTable.
	Table string

	// Source keeps the ids of different senders in one table apart, so that
	// one of them can't use up the ids of another, and those of different
	// endpoints, which are sent the same event under the same id: at most 64
	// bytes of A-Z, a-z, 0-9, '_', '-' and '.'. Default "".
	Source string

	// Keep is how long an id is remembered after its event was handled.
	// Default DefaultKeep. Negative: for ever.
	Keep time.Duration

	// ClaimFor is how long a claim lasts whose holder has crashed. A handler
	// that takes longer than that may find its event handled by another, and
	// its mark refused. Default DefaultClaimFor. At least a millisecond.
	ClaimFor time.Duration
}

// SQL is a [verifier.Dedupe] in a table of a SQLite or PostgreSQL database,
// for all processes that share it. The clock is the database's.
//
// A Claim is a statement of its own that is committed at once. The mark can be
// a statement of the handler's transaction ([SQL.MarkTx]); otherwise it is one
// more statement after the handler. Where others are in the way of such a statement
// (a serialization failure, a deadlock, a locked SQLite database) or its connection is
// lost, it is repeated for 5 s; one in the handler's transaction can't be. Rows whose time is over are deleted in
// small steps as claims are made, up to an hour late.
type SQL struct {
	db       DB
	sql      statements
	prefix   string
	keep     time.Duration // negative: for ever
	claimFor time.Duration
	claims   atomic.Uint64
}

// NewSQL returns an SQL on a database whose dialect is given. The table must
// exist: [SQL.Migrate] creates it. The error says which option is wrong.
func NewSQL(db DB, dialect Dialect, opts *SQLOptions) (*SQL, error) {
	o := SQLOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	if o.ClaimFor == 0 {
		o.ClaimFor = DefaultClaimFor
	}
	switch {
	case db == nil:
		return nil, errors.New("dedupe: no database")
	case dialect != SQLite && dialect != PostgreSQL:
		return nil, fmt.Errorf("dedupe: dialect %d is neither SQLite nor PostgreSQL", int(dialect))
	case !tableForm.MatchString(o.Table):
		return nil, fmt.Errorf("dedupe: table name %q must be lower-case letters, digits and '_', at most 50, with a schema before a full stop if need be", o.Table)
	case !sourceForm.MatchString(o.Source):
		return nil, fmt.Errorf("dedupe: source %q must be at most 64 characters of A-Z, a-z, 0-9, '_', '-' and '.'", o.Source)
	case o.Keep > 0 && o.Keep < time.Millisecond, o.ClaimFor < time.Millisecond:
		return nil, fmt.Errorf("dedupe: Keep %v and ClaimFor %v must be at least a millisecond", o.Keep, o.ClaimFor)
	}
	s := &SQL{db: db, sql: newStatements(dialect, o.Table), keep: o.Keep, claimFor: o.ClaimFor}
	if o.Source != "" {
		s.prefix = o.Source + ":"
	}
	return s, nil
}

// Migrate creates the table and its index unless they exist. It can be called
// by many processes at once. For a migration tool, see [SQL.Schema].
func (s *SQL) Migrate(ctx context.Context) error {
	var err error
	// PostgreSQL can fail where two processes create the same thing at once.
	for range 3 {
		if err = s.repeat(ctx, s.create); err == nil {
			return nil
		}
	}
	return fmt.Errorf("dedupe: creating the table: %w", err)
}

func (s *SQL) create(ctx context.Context) error {
	for _, statement := range s.sql.schema {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Schema returns the statements that [SQL.Migrate] executes.
func (s *SQL) Schema() []string { return slices.Clone(s.sql.schema) }

// row is what the table says about an id; the zero row if it has none.
type row struct {
	claim string
	done  bool
	valid bool // its time is not over
}

// answer is what a valid row says to who wants a claim. It has one already if an
// earlier try was carried out and its connection lost.
func (c *sqlClaim) answer(r row) error {
	switch {
	case r.done:
		return verifier.ErrDuplicate
	case r.claim == c.token:
		return nil
	}
	return verifier.ErrInProgress
}

// Claim implements [verifier.Dedupe].
func (s *SQL) Claim(ctx context.Context, key string) (verifier.Claim, error) {
	c := &sqlClaim{s: s, id: s.prefix + key, token: rand.Text()}
	err := s.repeat(ctx, c.take)
	switch {
	case err == nil:
		s.pruneSometimes(ctx)
		return c, nil
	case errors.Is(err, verifier.ErrDuplicate), errors.Is(err, verifier.ErrInProgress):
		return nil, err
	case ctx.Err() != nil, s.sql.dialect.passes(err):
		// The claim may have been made nevertheless, and nobody would hold it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Release(ctx)
	}
	return nil, fmt.Errorf("dedupe: claiming an event: %w", err)
}

// sqlClaim is a claim under a token of its own: who has another token has
// another claim.
type sqlClaim struct {
	s      *SQL
	id     string
	token  string
	marked atomic.Bool // by MarkTx, in a transaction that may or may not be committed
}

// take makes the claim. On PostgreSQL a new id costs one statement. On SQLite
// a look comes first: reading does not wait for a handler's transaction.
func (c *sqlClaim) take(ctx context.Context) error {
	s := c.s
	if s.sql.dialect == SQLite {
		if r, err := s.look(ctx, c.id); err != nil || r.valid {
			return cmp.Or(err, c.answer(r))
		}
	}
	lease := s.claimFor.Milliseconds()
	for range 3 { // between two statements the row may come or go
		if ok, err := s.exec(ctx, s.db, s.sql.insert, c.id, c.token, lease); ok || err != nil {
			return err
		}
		if r, err := s.look(ctx, c.id); err != nil || r.valid {
			return cmp.Or(err, c.answer(r))
		}
		if ok, err := s.exec(ctx, s.db, s.sql.renew, c.id, c.token, lease); ok || err != nil {
			return err
		}
	}
	return verifier.ErrInProgress // others are faster, again and again
}

// MarkTx marks the event that a handler is handling as done, in the handler's
// own transaction: the mark exists if and only if the handler's writes do. The
// context must be the handler's, the database of tx that of the SQL. The
// handler must commit or roll back before it returns.
//
// The error is [verifier.ErrClaimLost] if the handler took longer than
// SQLOptions.ClaimFor and another run has the event; the transaction must be
// rolled back then, and the handler return the error. It is [ErrNoClaim]
// outside of a guarded handler. Any other is the database's, after which the
// transaction is of no use: the handler repeats the whole of it if the error passes,
// as a serialization failure does, or returns the error, and the next delivery is
// handled.
func (s *SQL) MarkTx(ctx context.Context, tx Execer) error {
	claim, _ := verifier.ClaimFromContext(ctx)
	c, ok := claim.(*sqlClaim)
	if !ok || c.s != s {
		return ErrNoClaim
	}
	if err := c.mark(ctx, tx); err != nil {
		return err
	}
	c.marked.Store(true)
	return nil
}

func (c *sqlClaim) mark(ctx context.Context, tx Execer) error {
	ok, err := c.s.exec(ctx, tx, c.s.sql.mark, c.id, c.token, c.s.keepMillis())
	switch {
	case err != nil:
		return fmt.Errorf("dedupe: marking an event: %w", err)
	case !ok:
		return verifier.ErrClaimLost
	}
	return nil
}

// Done implements [verifier.Claim].
func (c *sqlClaim) Done(ctx context.Context) error { return c.s.repeat(ctx, c.done) }

func (c *sqlClaim) done(ctx context.Context) error {
	if c.marked.Load() {
		r, err := c.s.look(ctx, c.id)
		if err != nil {
			return fmt.Errorf("dedupe: marking an event: %w", err)
		}
		if r.done && r.claim == c.token {
			return nil
		}
	}
	return c.mark(ctx, c.s.db)
}

// Release implements [verifier.Claim].
func (c *sqlClaim) Release(ctx context.Context) error {
	err := c.s.repeat(ctx, func(ctx context.Context) error {
		_, err := c.s.exec(ctx, c.s.db, c.s.sql.release, c.id, c.token)
		return err
	})
	if err != nil {
		return fmt.Errorf("dedupe: releasing an event: %w", err)
	}
	return nil
}

const (
	pruneEvery = 64  // claims
	pruneStep  = 256 // rows; more than are added meanwhile
)

// pruneSometimes deletes some old rows. If that fails, a later one will do it.
func (s *SQL) pruneSometimes(ctx context.Context) {
	if s.claims.Add(1)%pruneEvery == 1 {
		_, _ = s.prune(ctx)
	}
}

// Prune deletes up to 256 rows whose time is over and returns how many it
// deleted. Claims do so by themselves; calling it in a loop frees a table that
// has grown.
func (s *SQL) Prune(ctx context.Context) (n int, err error) {
	err = s.repeat(ctx, func(ctx context.Context) error {
		n, err = s.prune(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("dedupe: deleting old ids: %w", err)
	}
	return n, nil
}

func (s *SQL) prune(ctx context.Context) (int, error) {
	result, err := s.db.ExecContext(ctx, s.sql.prune, int64(pruneStep))
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// exec reports whether the statement changed a row.
func (s *SQL) exec(ctx context.Context, db Execer, statement string, args ...any) (bool, error) {
	result, err := db.ExecContext(ctx, statement, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func (s *SQL) look(ctx context.Context, id string) (r row, err error) {
	rows, err := s.db.QueryContext(ctx, s.sql.look, id)
	if err != nil {
		return row{}, err
	}
	if rows.Next() {
		err = rows.Scan(&r.claim, &r.done, &r.valid)
	}
	return r, errors.Join(err, rows.Err(), rows.Close())
}

// keepMillis is how long a mark is valid.
func (s *SQL) keepMillis() int64 {
	if s.keep < 0 {
		return forEver
	}
	return s.keep.Milliseconds()
}
