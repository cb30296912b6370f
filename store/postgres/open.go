package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/store"
)

// DefaultSchema is where the tables are unless Options say otherwise.
const DefaultSchema = "hookpost"

// connectTimeout bounds how long New waits for a server that does not answer.
const connectTimeout = 10 * time.Second

// ErrEncoding says that the database, or a connection to it, has another character
// encoding than UTF8. Payloads, receivers' answers and endpoints' texts are UTF-8, and
// contain characters that other encodings lack.
var ErrEncoding = errors.New("postgres: the character encoding is not UTF8")

// Options change the defaults of a store. A nil *Options and the zero value
// mean the defaults.
type Options struct {
	// Schema is the schema that holds hookpost's tables; "" means "hookpost". Several
	// stores may share a database, each in a schema of its own. At most 63 bytes of
	// UTF-8; any character is allowed, and it need not be in the search_path.
	Schema string

	// Notify tells other processes by LISTEN and NOTIFY that there are deliveries to
	// claim, so that they need not wait for their next poll. The store notifies after
	// commits of its own, at most 20 times a second, and never inside a transaction of
	// the application's. It takes one connection of the pool for listening while a
	// Sender runs, which must not go through PgBouncer in transaction mode: nothing is
	// heard there, and Listen says so. Everything works without it.
	Notify bool
}

// schema returns the name of the schema, or ErrInvalid.
func (o *Options) schema() (string, error) {
	if o == nil || o.Schema == "" {
		return DefaultSchema, nil
	}
	switch {
	case len(o.Schema) > 63:
		return "", fmt.Errorf("%w: schema name has %d bytes, more than 63", store.ErrInvalid, len(o.Schema))
	case !store.IsText(o.Schema):
		return "", fmt.Errorf("%w: schema name %q is not UTF-8 without NUL", store.ErrInvalid, o.Schema)
	case strings.HasPrefix(o.Schema, "pg_"):
		return "", fmt.Errorf("%w: schema names that begin with pg_ are PostgreSQL's own, got %q", store.ErrInvalid, o.Schema)
	}
	return o.Schema, nil
}

// Store is a [store.Store] in a PostgreSQL database. Its methods may be called
// concurrently; any number of Stores, of any number of processes, may use one
// schema.
type Store struct {
	pool    *pgxpool.Pool
	schema  string
	text    *statements // of its own transactions
	inTx    *statements // of the application's
	targets targets
	id      int64 // of the database, see hookpost.store
	notify  notifier
	spare   sync.Pool // of *[]byte: buffers for bodies in Enqueue

	fixedViews bool  // by default, transactions are not READ COMMITTED
	demoted    turns // to leave connections to what has become a standby

	hot       hotLanes
	dead      deadLanes
	waiting   lookout // deliveries that wait for their retry
	leases    lookout
	outdated  outdated
	lapsed    pacer
	closing   context.Context // ends with Close
	endEarly  context.CancelFunc
	mu        sync.Mutex
	closed    bool
	calls     sync.WaitGroup
	everEnded chan struct{}
}

var (
	_ store.Store = (*Store)(nil)
	_ store.Waker = (*Store)(nil)
)

// New returns a store in the database that pool connects to. The pool stays the
// application's, to use and to close.
//
// New changes nothing: making tables needs rights that an application may not
// have, so that it is a step of its own, [Migrate]. It looks whether the tables
// are there and can be used, which takes at most 10 s: a server that cannot be
// reached is an error here and not later. Errors: [store.ErrNotMigrated],
// [store.ErrNewerSchema], [store.ErrReadOnly], [store.ErrInvalid], [ErrEncoding], and
// others that say which rights are missing or why there is no connection.
func New(pool *pgxpool.Pool, opts *Options) (*Store, error) {
	return newStore(pool, opts, "")
}

// newStore is New with an expression that is added to the time.
func newStore(pool *pgxpool.Pool, opts *Options, shift string) (*Store, error) {
	if pool == nil {
		return nil, fmt.Errorf("%w: pool is nil", store.ErrInvalid)
	}
	schema, err := opts.schema()
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, schema: schema, text: newStatements(schema, shift, ownMark), inTx: newStatements(schema, shift, ""), everEnded: make(chan struct{})}
	s.closing, s.endEarly = context.WithCancel(context.Background())
	s.notify = notifier{on: opts != nil && opts.Notify, self: strconv.FormatUint(rand.Uint64(), 36)}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if err := s.check(ctx); err != nil {
		s.endEarly()
		return nil, err
	}
	return s, nil
}

// check makes sure that the database can be used.
func (s *Store) check(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return explainConnect(ctx, s.pool, err)
	}
	defer conn.Release()
	if err := checkEncoding(ctx, conn); err != nil {
		return err
	}
	if err := checkMigrated(ctx, conn, s.schema); err != nil {
		return err
	}
	var readOnly bool
	var lacks *string
	err = conn.QueryRow(ctx, `SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean,
		current_setting('default_transaction_isolation') IN ('repeatable read', 'serializable'),
		(SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_class c
		 WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = $1) AND CASE c.relkind
		 WHEN 'r' THEN NOT (has_table_privilege(c.oid, 'SELECT') AND (c.relname IN ('migration', 'store') OR has_table_privilege(c.oid, 'INSERT')
			AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')))
		 WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') ELSE false END)`, s.schema).Scan(&readOnly, &s.fixedViews, &lacks)
	switch {
	case err != nil:
		return explain(ctx, err)
	case readOnly:
		return fmt.Errorf("%w: the server is a standby or default_transaction_read_only is set, and a queue must write", store.ErrReadOnly)
	case lacks != nil:
		return fmt.Errorf("postgres: the database role needs SELECT, INSERT, UPDATE and DELETE on the tables, and USAGE on the sequences, "+
			"in schema %s; it lacks some on: %s", pgx.Identifier{s.schema}.Sanitize(), *lacks)
	}
	return explain(ctx, conn.QueryRow(ctx, s.text.of("SELECT id FROM hookpost.store")).Scan(&s.id))
}

func checkEncoding(ctx context.Context, db rower) error {
	var server, client string
	err := db.QueryRow(ctx, "SELECT current_setting('server_encoding'), current_setting('client_encoding')").Scan(&server, &client)
	switch {
	case err != nil:
		return explain(ctx, err)
	case server != "UTF8":
		return fmt.Errorf("%w: the database's server_encoding is %s, which it has from its creation; "+
			"hookpost needs a database made with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", ErrEncoding, server)
	case client != "UTF8":
		return fmt.Errorf("%w: the connection's client_encoding is %s; add client_encoding=UTF8 to the DSN, "+
			"or RESET client_encoding for the role and the database", ErrEncoding, client)
	}
	return nil
}

// Durable returns true.
func (s *Store) Durable() bool { return true }

// Now returns the server's clock.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	err = s.read(ctx, func(q querier) error {
		return q.row(ctx, "SELECT statement_timestamp()", nil, &now)
	})
	return now.UTC(), err
}

// Close waits for running calls and ends the store's use; later calls return
// [store.ErrClosed]. The pool stays open. Closing again waits for the first.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		<-s.everEnded
		return nil
	}
	s.endEarly()
	s.calls.Wait()
	close(s.everEnded)
	return nil
}

// enter admits a call, which must end with s.calls.Done.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	s.calls.Add(1)
	return nil
}
