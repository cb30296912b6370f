package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/internal/pgserver"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// connections is how many each process of the sender has.
const connections = 8

// database is the PostgreSQL server that is measured. Each run has a schema of its
// own in it.
type database struct {
	dsn     string
	about   string        // version and settings
	process int           // the server's first; 0: it is not on this machine
	end     func() error  // of a server started here
	schemas atomic.Uint32 // made so far
	trips   atomic.Int64  // round trips of this process's pools
}

// start finds the server or starts one, which is as safe as by default: what is
// committed is on the disk. It returns pgserver.ErrNone where there is none.
func (db *database) start(ctx context.Context) error {
	db.end = func() error { return nil }
	if db.dsn = os.Getenv(pgserver.EnvDSN); db.dsn == "" {
		private, err := pgserver.Start(ctx, "shared_buffers=1GB", "max_wal_size=4GB")
		if err != nil {
			return err
		}
		db.dsn, db.end = private.DSN("postgres"), private.Stop
	}
	if err := db.look(ctx); err != nil {
		return errors.Join(err, db.end())
	}
	return nil
}

// look finds out what kind of server it is.
func (db *database) look(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var backend int
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid(), 'PostgreSQL ' || current_setting('server_version') || ', ' ||
		(SELECT string_agg(name || ' ' || current_setting(name), ', ' ORDER BY name)
		FROM unnest(ARRAY['fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size']) AS name)`).Scan(&backend, &db.about)
	if err != nil {
		return err
	}
	if p, err := readProcess(backend); err == nil && strings.HasPrefix(p.name, "postgres") {
		db.process = p.parent
	}
	return nil
}

// pool connects to the server.
func (db *database) pool(ctx context.Context, size int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(db.dsn)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = int32(size), int32(size)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countedConn{Conn: conn, trips: &db.trips}, nil
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// roundTrips returns how many the pools of this process have made so far.
func (db *database) roundTrips() int64 {
	if db == nil {
		return 0
	}
	return db.trips.Load()
}

// countedConn counts round trips: what is read after something was written.
type countedConn struct {
	net.Conn
	trips *atomic.Int64
	asked atomic.Bool
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(p)
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.asked.Swap(false) {
		c.trips.Add(1)
	}
	return n, err
}

// schema returns the name of a schema that does not exist, and what drops it.
func (db *database) schema() (name string, drop func()) {
	name = fmt.Sprintf("hookpost_bench_%d_%d", os.Getpid(), db.schemas.Add(1))
	return name, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, db.dsn)
		if err != nil {
			return
		}
		defer conn.Close(ctx)
		_, _ = conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+name+" CASCADE")
	}
}

// settle lets no test pay for what those before it left to be written.
func (db *database) settle(ctx context.Context, pool *pgxpool.Pool) {
	_, _ = pool.Exec(ctx, "CHECKPOINT") // needs rights that a given role may lack
}

// pgStore is a store with the pool that it uses and where it is.
type pgStore struct {
	*postgres.Store
	pool   *pgxpool.Pool
	schema string
}

func (s *pgStore) Close() error {
	err := s.Store.Close()
	s.pool.Close()
	return err
}

// open returns a store in a new schema, and what drops it.
func (db *database) open(ctx context.Context, _ string) (store.Store, func(), error) {
	schema, drop := db.schema()
	st, err := db.join(ctx, schema, true)
	if err != nil {
		drop()
		return nil, nil, err
	}
	db.settle(ctx, st.pool)
	return st, drop, nil
}

// join returns a store in a schema that there may be already.
func (db *database) join(ctx context.Context, schema string, migrate bool) (*pgStore, error) {
	pool, err := db.pool(ctx, connections)
	if err != nil {
		return nil, err
	}
	opts := &postgres.Options{Schema: schema}
	if migrate {
		err = postgres.Migrate(ctx, pool, opts)
	}
	var st *postgres.Store
	if err == nil {
		st, err = postgres.New(pool, opts)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &pgStore{Store: st, pool: pool, schema: schema}, nil
}

// process is what /proc says about one.
type process struct {
	name   string
	parent int
	own    time.Duration // CPU
	ended  time.Duration // CPU of its children that have ended
}

// clockTick is the unit of times in /proc.
const clockTick = time.Second / 100

func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseProcess(string(text))
}

// parseProcess reads a line such as "12 (postgres) S 11 ...": proc(5).
func parseProcess(stat string) (process, error) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, fmt.Errorf("no name in %q", stat)
	}
	fields := strings.Fields(stat[end+1:]) // from the third on
	if len(fields) < 15 {
		return process{}, fmt.Errorf("%q is too short", stat)
	}
	var n [5]int // parent, and times of user and kernel, own and of children
	for i, field := range []int{4, 14, 15, 16, 17} {
		var err error
		if n[i], err = strconv.Atoi(fields[field-3]); err != nil {
			return process{}, err
		}
	}
	return process{
		name: stat[open+1 : end], parent: n[0],
		own: time.Duration(n[1]+n[2]) * clockTick, ended: time.Duration(n[3]+n[4]) * clockTick,
	}, nil
}

// cpu returns what all processes of the server have used so far. Each is a child
// of the first, to which those that end leave what they used.
func (db *database) cpu() time.Duration {
	var total time.Duration
	for pid, p := range db.processes() {
		total += p.own
		if pid == db.process {
			total += p.ended
		}
	}
	return total
}

// logged returns how many bytes the server has put into its write-ahead log so far; 0
// if it does not say.
func (db *database) logged() (bytes int64) {
	if db == nil || db.dsn == "" {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return 0
	}
	defer conn.Close(ctx)
	_ = conn.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - pg_lsn '0/0')::bigint").Scan(&bytes)
	return bytes
}

// processes returns those of the server by their numbers.
func (db *database) processes() map[int]process {
	if db == nil || db.process == 0 {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	all := make(map[int]process)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil && (pid == db.process || p.parent == db.process) {
			all[pid] = p
		}
	}
	return all
}
