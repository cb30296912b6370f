package postgres_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgproxy"
	"github.com/hookpost/hookpost/internal/storemodel"
	"github.com/hookpost/hookpost/store/postgres"
)

// known names methods whose errors don't tell the truth yet, with what they do.
var known = map[string]string{}

// Calls in an order of chance, of which some fail because the connection does, at any
// byte of what is said in them, in all of pgx's ways to run statements.
func TestModel(t *testing.T) {
	storemodel.Run(t, storemodel.Sequences(1, 8, 100), func(t *testing.T, seed uint64) storemodel.Subject {
		p, through := server.Proxy(t)
		name := server.Schema(t, "model_")
		pool := server.Pool(t, through, func(c *pgxpool.Config) {
			c.MaxConns = 2
			c.ConnConfig.RuntimeParams["application_name"] = name
			c.ConnConfig.DefaultQueryExecMode = execModes[seed%uint64(len(execModes))]
			if seed/10%2 == 1 {
				c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "repeatable read"
			}
		})
		st := postgres.NewShifted(t, pool, &postgres.Options{Schema: name})
		b := &breaker{t: t, proxy: p, pool: pool, name: name, look: server.Pool(t)}
		return storemodel.Subject{
			Store:    st.Store,
			SetClock: func(at time.Time) { st.Set(t, at) },
			Begin: func() (storemodel.Tx, error) {
				return storemodel.Tx(beginPgx(t, pool, st.Store)), nil
			},
			Faults: []storemodel.Fault{
				{Name: "connection cut", Do: b.cut},
				{Name: "machine frozen", Do: b.stop(pgproxy.Freeze)},
				{Name: "answer lost", Do: b.stop(pgproxy.Swallow)},
				{Name: "caller gives up", Do: b.giveUp},
			},
			Known: known,
		}
	})
}

// breaker breaks the connections of a pool.
type breaker struct {
	t     *testing.T
	proxy *pgproxy.Proxy
	pool  *pgxpool.Pool
	name  string        // application_name of its connections
	look  *pgxpool.Pool // connections that never break
}

// place is one in what client and server say in a call.
func place(r *rand.Rand) pgproxy.Fault {
	places := []pgproxy.Fault{
		{From: pgproxy.Client},
		{From: pgproxy.Client, When: pgproxy.Commits},
		{From: pgproxy.Client, When: pgproxy.Is('E')},
		{From: pgproxy.Server},
		{From: pgproxy.Server, When: pgproxy.Is('C')},
		{From: pgproxy.Server, When: pgproxy.Is('Z')},
	}
	f := places[r.IntN(len(places))]
	f.Skip = r.IntN(1 + r.IntN(6))
	f.Byte = []int{0, r.IntN(20), pgproxy.End}[r.IntN(3)]
	return f
}

func (b *breaker) cut(ctx context.Context, r *rand.Rand, call func(context.Context) error) error {
	f := place(r)
	f.Do = pgproxy.Cut
	cut := b.proxy.Inject(f)
	err := call(ctx)
	cut.Undo()
	if cut.Happened() {
		b.settle()
	}
	return err
}

// stop lets nothing more pass, or no answers, until the connection is cut after all.
func (b *breaker) stop(action pgproxy.Action) func(context.Context, *rand.Rand, func(context.Context) error) error {
	return func(ctx context.Context, r *rand.Rand, call func(context.Context) error) error {
		f := place(r)
		f.Do = action
		stopped := b.proxy.Inject(f)
		ended := make(chan error, 1)
		go func() { ended <- call(ctx) }()
		var err error
		select {
		case err = <-ended:
		case <-stopped.Hit():
			time.Sleep(rand.N(10 * time.Millisecond)) // what passed before may have its effect
			b.proxy.CutAll()
			err = <-ended
		}
		stopped.Undo()
		b.settle()
		return err
	}
}

func (b *breaker) giveUp(ctx context.Context, _ *rand.Rand, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, rand.N(5*time.Millisecond))
	defer cancel()
	err := call(ctx)
	if err != nil {
		b.settle()
	}
	return err
}

// settle waits until the server has ended whatever the broken connections were about.
func (b *breaker) settle() {
	b.proxy.CutAll()
	b.pool.Reset()
	ctx := context.WithoutCancel(b.t.Context())
	require.Eventually(b.t, func() bool {
		var n int
		err := b.look.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", b.name).Scan(&n)
		require.NoError(b.t, err)
		return n == 0
	}, time.Minute, time.Millisecond)
}
