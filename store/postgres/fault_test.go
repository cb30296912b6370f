package postgres_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// wire breaks a connection when a test says so.
type wire struct {
	net.Conn
	cut     *atomic.Bool
	instead []byte // the last that is heard
}

var errCut = errors.New("connection cut by the test")

// Read waits for the server's answer before it loses it.
func (w wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.cut.CompareAndSwap(true, false) {
		_ = w.Close()
		if len(w.instead) > 0 {
			return copy(p, w.instead), nil
		}
		return 0, errCut
	}
	return n, err
}

// cuttable makes a pool's next answer after cut is set get lost. Something else may
// come instead, before the connection ends.
func cuttable(cut *atomic.Bool, instead ...byte) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) {
		c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // its answer would be the next
		dial := c.ConnConfig.DialFunc
		c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return wire{conn, cut, instead}, err
		}
	}
}

func TestLostAnswerOfEnqueue(t *testing.T) {
	var cut atomic.Bool
	st, _, _ := open(t, cuttable(&cut))
	ep := endpoint(t, st, "ep_1")
	warm := event(t, st, "evt_0", ep)
	p := store.EnqueueParams{Events: []store.NewEvent{warm}, Owner: 1, Lease: time.Minute}
	_, err := st.Enqueue(t.Context(), p) // prepares the statement
	require.NoError(t, err)

	ev := event(t, st, "evt_1", ep)
	ev.For[0].Lease = true
	p.Events = []store.NewEvent{ev}
	cut.Store(true)
	_, err = st.Enqueue(t.Context(), p)
	require.ErrorIs(t, err, store.ErrUnknownCommit)

	p.Repeat = true
	require.Eventually(t, func() bool { // the server may be at it still
		rs, err := st.Enqueue(t.Context(), p)
		require.NoError(t, err)
		require.True(t, rs[0].Leased)
		return rs[0].Status == store.Duplicate || rs[0].Status == store.Stored
	}, 10*time.Second, time.Millisecond)
	ds, err := st.Deliveries(t.Context(), scope, store.DeliveryQuery{EventID: "evt_1"})
	require.NoError(t, err)
	require.Len(t, ds, 1)
}

func TestLostAnswerOfSettle(t *testing.T) {
	var cut atomic.Bool
	st, _, _ := open(t, cuttable(&cut))
	ep := endpoint(t, st, "ep_1")
	for i, verdict := range []store.Verdict{store.Deliver, store.Retry} {
		_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, fmt.Sprint("evt_", i, "_"), 2, ep)})
		require.NoError(t, err)
		c, err := st.Claim(t.Context(), store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 2, DefaultRoom: 2})
		require.NoError(t, err)
		require.Len(t, c.Deliveries, 2)
		settle := func(c store.Claimed) []store.Settlement {
			s := success(c)
			s.Verdict, s.Delay = verdict, time.Hour
			if verdict == store.Retry {
				s.Attempt.Outcome = store.AttemptFailed
			}
			return []store.Settlement{s}
		}
		_, err = st.Settle(t.Context(), settle(c.Deliveries[0]))
		require.NoError(t, err)
		cut.Store(true)
		_, err = st.Settle(t.Context(), settle(c.Deliveries[1]))
		require.ErrorIs(t, err, store.ErrUnknownCommit)
		_, err = st.Settle(t.Context(), settle(c.Deliveries[1]))
		require.NoError(t, err)
		d, err := st.Delivery(t.Context(), scope, c.Deliveries[1].ID)
		require.NoError(t, err)
		require.False(t, d.InFlight)
		require.Equal(t, i, d.Failures, "counted once")
	}
}

// The server goes away during the commit, and a pooler in between says so, as
// PgBouncer does. Where it says that it had no server nothing was committed, and the
// batch is stored through another connection.
func TestPoolerLosesTheServer(t *testing.T) {
	for text, unknown := range map[string]bool{
		"server conn crashed?": true,
		"server login has been failing, try again later (server_login_retry)": false,
		"query_wait_timeout": false,
	} {
		var cut atomic.Bool
		fatal := "SFATAL\x00VFATAL\x00C08P01\x00M" + text + "\x00\x00"
		message := append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(4+len(fatal))), fatal...)
		st, _, _ := open(t, cuttable(&cut, message...))
		p := store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_0", endpoint(t, st, "ep_1"))}}
		_, err := st.Enqueue(t.Context(), p) // prepares the statement
		require.NoError(t, err)
		p.Events[0].ID = "evt_1"
		cut.Store(true)
		_, err = st.Enqueue(t.Context(), p)
		if !unknown {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, text)
		require.ErrorIs(t, err, store.ErrUnknownCommit)
	}
}

// A backend that is killed before the commit: the caller can't tell it from the
// one above, and repeating stores the event.
func TestBackendKilledInCommit(t *testing.T) {
	st, _, opts := open(t)
	ep := endpoint(t, st, "ep_1")
	server.Exec(t, "CREATE FUNCTION "+opts.Schema+".die() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "+
		"PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
		"CREATE CONSTRAINT TRIGGER die AFTER INSERT ON "+opts.Schema+".event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "+opts.Schema+".die()")
	p := store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_1", ep)}, Owner: 1, Lease: time.Minute}
	p.Events[0].For[0].Lease = true
	_, err := st.Enqueue(t.Context(), p)
	require.ErrorIs(t, err, store.ErrUnknownCommit)
	server.Exec(t, "DROP TRIGGER die ON "+opts.Schema+".event")
	p.Repeat = true
	rs, err := st.Enqueue(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, store.Enqueued{Status: store.Stored, Event: rs[0].Event, Leased: true}, rs[0])
}

func TestAllConnectionsTerminated(t *testing.T) {
	st, _, _ := open(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = t.Name() })
	ep := endpoint(t, st, "ep_1")
	_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, "evt_", 5, ep)})
	require.NoError(t, err)
	server.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '"+t.Name()+"'")
	// Each connection of the pool may fail once, and then all is as before.
	var got []store.Claimed
	for range 20 {
		c, err := st.Claim(t.Context(), store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 10, DefaultRoom: 10})
		if err == nil {
			got = append(got, c.Deliveries...)
			break
		}
	}
	require.Len(t, got, 5)
}

func TestCancelledWhileWaiting(t *testing.T) {
	st, pool, opts := open(t)
	ep := endpoint(t, st, "ep_1")
	ev := event(t, st, "evt_1", ep)
	tx := begin(t, pool, "")
	_, err := tx.Exec(t.Context(), "LOCK TABLE "+opts.Schema+".endpoint IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = st.Endpoint(ctx, scope, ep.ID)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{ev}})
	require.NoError(t, err, "endpoints that were read lately are not read again")
}

func TestDiskFull(t *testing.T) {
	st, _, opts := open(t)
	ep := endpoint(t, st, "ep_1")
	server.Exec(t, "CREATE FUNCTION "+opts.Schema+".full() RETURNS trigger LANGUAGE plpgsql AS "+
		"'BEGIN RAISE EXCEPTION ''no space left on device'' USING ERRCODE = ''disk_full''; END'",
		"CREATE TRIGGER f BEFORE INSERT ON "+opts.Schema+".event FOR EACH ROW EXECUTE FUNCTION "+opts.Schema+".full()")
	_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_1", ep)}})
	require.ErrorIs(t, err, store.ErrFull)
}
