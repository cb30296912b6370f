package txlibs

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hookpost/hookpost/internal/pgserver"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store/postgres"
)

var dsn string

func TestMain(m *testing.M) {
	status := pgserver.Main(m, func(server string) { dsn = server })
	// gorm's cache of prepared statements never ends.
	if err := goleak.Find(goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1")); status == 0 && err != nil {
		println(err.Error())
		status = 1
	}
	os.Exit(status)
}

// world is an application on PostgreSQL: a table of its own, hookpost's tables, a
// running Sender and a receiver that wants everything.
type world struct {
	pool     *pgxpool.Pool
	schema   string // holds the table orders (id text) too
	store    *postgres.Store
	hooks    *sender.Sender
	receiver *sendertest.Receiver
	endpoint string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	w := &world{schema: "tx_" + strings.ToLower(rand.Text()[:10]), receiver: sendertest.NewReceiver(t)}
	var err error
	w.pool, err = pgxpool.New(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(w.pool.Close)
	opts := &postgres.Options{Schema: w.schema}
	require.NoError(t, postgres.Migrate(ctx, w.pool, opts))
	t.Cleanup(func() { w.exec(t, "SET lock_timeout = '5s'; DROP SCHEMA "+w.schema+" CASCADE") })
	w.exec(t, "CREATE TABLE "+w.schema+".orders (id text PRIMARY KEY)")
	w.store, err = postgres.New(w.pool, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.store.Close()) })

	w.hooks, err = sender.New(w.store, &sender.Options{
		PlaintextSecrets: true,
		PollInterval:     time.Hour, // so that only Wake finds events
		HTTP:             sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
	})
	require.NoError(t, err)
	require.NoError(t, w.hooks.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		require.NoError(t, w.hooks.Stop(ctx))
	})
	ep, _, err := w.hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: w.receiver.URL(), EventTypes: []string{"*"}, NoTestEvent: true})
	require.NoError(t, err)
	w.endpoint = ep.ID
	return w
}

func (w *world) exec(t *testing.T, statement string) {
	t.Helper()
	_, err := w.pool.Exec(context.WithoutCancel(t.Context()), statement)
	require.NoError(t, err)
}

// insertOrder is a statement of the application's.
func (w *world) insertOrder(id string) string {
	return "INSERT INTO " + w.schema + ".orders VALUES ('" + id + "')"
}

// orders counts the rows that are committed.
func (w *world) orders(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, w.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+w.schema+".orders").Scan(&n))
	return n
}

// db opens a handle of database/sql: "pgx" or "postgres", which is lib/pq.
func (w *world) db(t *testing.T, driver string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}
