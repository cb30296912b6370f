// Package postgres keeps hookpost's queue, endpoints and log in PostgreSQL, for
// any number of processes on any number of machines. None of them leads, and any
// may die. It speaks to the server through pgx; versions 13 and later will do.
//
//	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
//	err = postgres.Migrate(ctx, pool, nil)   // or by the migration tool, see Migrations
//	st, err := postgres.New(pool, nil)
//	hooks, err := sender.New(st, &sender.Options{Keyring: keys})
//
// Events are stored in the application's own transaction by [Store.Tx] for pgx and
// [Store.SQLTx] for database/sql and what is built on it.
//
// # Clock
//
// The only clock is the server's. Processes whose clocks are wrong do no harm.
//
// # Connections
//
// The store keeps nothing in a connection: no session settings, no locks, no
// prepared statements of its own. Each call is one round trip and one transaction,
// or a short explicit transaction for what people do. So it works with any pool and
// behind PgBouncer in transaction mode. How statements are prepared is the pool's
// affair (default_query_exec_mode in its DSN): the default, cache_statement, is the
// fastest and right for direct connections and for PgBouncer 1.21 or later with
// max_prepared_statements set; other proxies need "exec", or "simple_protocol" if
// they cannot do better. Where the database or the role has another
// default_transaction_isolation than read committed, calls that write take three
// round trips.
//
// A Sender needs few connections: claims, commits of Send and of results each use
// one at a time, upkeep one more. A pool of 4 to 8 for each process serves well, and
// one more with [Options.Notify]. The application may share its own pool; where that
// can be exhausted, sending waits with everything else, and a second pool keeps it
// apart.
//
// # Long transactions
//
// A transaction of the application's that stays open for long delays only what it
// has sent itself. It keeps the server from cleaning up, though, in all tables; the
// store remembers where live rows begin so that its claims do not slow down.
package postgres
