package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// defaultBusyTimeout is SQLite users' habit, and far longer than any transaction
// of the store's own.
const defaultBusyTimeout = 5 * time.Second

// readers is how many connections [Open] keeps for reading.
const readers = 4

// Options change the defaults of a store. A nil *Options and the zero value
// mean the defaults.
type Options struct {
	// Clock is the store's clock; nil means time.Now. All processes that use one
	// file should agree on the time to a second or so.
	Clock func() time.Time

	// BusyTimeout is how long a call waits for other writers of the file: other
	// processes, and transactions of the application's, or for a connection of its pool.
	// After it the call returns
	// [store.ErrBusy] and nothing was written. 0 means 5 s; negative means not to
	// wait at all.
	BusyTimeout time.Duration

	// NoMigrate leaves the tables as they are: if they are missing or old, opening
	// returns [store.ErrNotMigrated]. For applications that run [Migrate] or the
	// files of [Migrations] themselves.
	NoMigrate bool
}

// Store is a [store.Store] in a SQLite database. Its methods may be called
// concurrently; several Stores, also of several processes on one machine, may
// use one file.
type Store struct {
	id      int64 // of the database, see hookpost_store
	clock   func() time.Time
	wait    time.Duration
	writer  writer
	readers pool
	targets targets

	// payloadsFrom is where the oldest event may be whose payload is still there.
	payloadsFrom struct {
		sync.Mutex
		num int64
	}

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
	ended  chan struct{} // closed when Close is through
	err    error         // of closing
}

var _ store.Store = (*Store)(nil)

// Open opens or creates the database file at path for hookpost alone, brings
// its tables up to date and returns a store on it. The file is put in WAL mode
// with synchronous=FULL: what a call has returned survives a power failure. Beside
// it lie path-wal and path-shm while it is in use. It must be on a local disk,
// not on a network file system.
//
// path may also be an SQLite URI such as "file:hooks.db?_pragma=cache_size(-64000)"
// with parameters of the driver modernc.org/sqlite, which win over the defaults. A
// relative path is one of the directory that the process is in when Open is called,
// wherever it goes later.
// A database in memory is refused with [store.ErrInvalid]: store/memory is for that.
//
// To keep hookpost's tables in a database with the application's own, for
// sending in its transactions, use [New], or Open and hand transactions of the
// application's handle on the same file to [Store.Tx].
//
// Other errors: [store.ErrNewerSchema], [store.ErrReadOnly], [store.ErrNotMigrated].
func Open(ctx context.Context, path string, opts *Options) (*Store, error) {
	writeDSN, readDSN, err := dsn(path)
	if err != nil {
		return nil, err
	}
	wdb, err := sql.Open("sqlite", writeDSN)
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	rdb, err := sql.Open("sqlite", readDSN)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), wdb.Close())
	}
	s := newStore(newPool(wdb, 1), newPool(rdb, readers), opts)
	if err := s.prepare(ctx, opts); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}

// New returns a store in the database that db is open on, beside the
// application's own tables, and brings hookpost's tables up to date unless
// opts.NoMigrate is set. db must be of the driver modernc.org/sqlite, on a file,
// and stays the application's to close.
//
// The store borrows a connection of db's for each transaction and changes none
// of its settings, so what is promised depends on them. What a call has returned
// survives a crash of the process in any case, and a power failure only with
// PRAGMA synchronous=FULL (or EXTRA). PRAGMA journal_mode=WAL is strongly advised;
// without it readers and writers wait for each other. Both belong into db's DSN,
// as does _txlock=immediate for the transactions that are given to [Store.Tx]:
//
//	file:/var/lib/app/app.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate
//
// A relative path in it means another file once the process has changed its directory,
// because database/sql opens connections at any time.
//
// While a transaction of the application's is open that has written, no other
// call of the store can write. With db.SetMaxOpenConns(1), none can even begin.
// A store of [Open]'s is faster, because it keeps its prepared statements.
//
// Errors: [store.ErrNewerSchema], [store.ErrReadOnly], [store.ErrNotMigrated],
// [store.ErrInvalid].
func New(db *sql.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errNoDB
	}
	s := newStore(pool{db: db}, pool{db: db}, opts)
	if err := s.prepare(context.Background(), opts); err != nil {
		return nil, err
	}
	return s, nil
}

var errNoDB = fmt.Errorf("%w: db is nil", store.ErrInvalid)

func newStore(w, r pool, opts *Options) *Store {
	if opts == nil {
		opts = &Options{}
	}
	s := &Store{clock: opts.Clock, wait: opts.BusyTimeout, readers: r, ended: make(chan struct{})}
	if s.clock == nil {
		s.clock = time.Now
	}
	switch {
	case s.wait == 0:
		s.wait = defaultBusyTimeout
	case s.wait < 0:
		s.wait = 0
	}
	s.writer.pool, s.writer.wait = w, s.wait
	return s
}

// dsn returns the driver's names for path: one to write with and one to read. They name
// the file from the root, because connections are opened later too, when the process may
// work in another directory.
func dsn(path string) (write, read string, err error) {
	if strings.ContainsRune(path, 0) {
		return "", "", fmt.Errorf("%w: path contains a NUL", store.ErrInvalid)
	}
	name, host, query := path, "", ""
	if rest, ok := strings.CutPrefix(path, "file:"); ok {
		if host, name, query, err = parseURI(rest); err != nil {
			return "", "", fmt.Errorf("%w: path %q: %w", store.ErrInvalid, path, err)
		}
	}
	if name == "" || name == ":memory:" || strings.Contains(query, "mode=memory") {
		return "", "", fmt.Errorf("%w: path %q is not a file; store/memory keeps everything in memory", store.ErrInvalid, path)
	}
	if !ownNames(query) {
		if name, err = filepath.Abs(name); err != nil {
			return "", "", fmt.Errorf("sqlite: open %s: %w", path, err)
		}
		if name = filepath.ToSlash(name); filepath.VolumeName(name) != "" {
			name = "/" + name // file:/C:/hooks.db
		}
	}
	name = host + (&url.URL{Path: name}).EscapedPath()
	// The application's parameters come last and win. The page cache of the writer
	// holds the indexes of some million pending deliveries. Checkpoints come as often as
	// SQLite means them to: rarer ones hold up the commit that they fall on for longer, and
	// gain nothing in all.
	common := "?_pragma=busy_timeout(0)&_pragma=synchronous(FULL)"
	if !strings.Contains(query, "_journal") && !strings.Contains(strings.ToLower(query), "journal_mode") {
		// The mode is the file's: every new connection would change it to this one and back,
		// for which none of the others may be open.
		common += "&_pragma=journal_mode(WAL)"
	}
	write = "file:" + name + common + "&_pragma=cache_size(-32768)&_pragma=temp_store(MEMORY)&_pragma=journal_size_limit(67108864)"
	read = "file:" + name + common + "&_pragma=query_only(1)"
	if query != "" {
		write += "&" + query
		read += "&" + query
	}
	return write, read, nil
}

// parseURI splits what stands behind "file:" in a URI of SQLite's,
// https://www.sqlite.org/uri.html: host is "" or has two slashes before it, and name has
// its escapes decoded.
func parseURI(rest string) (host, name, query string, err error) {
	rest, query, _ = strings.Cut(rest, "?")
	name, _, _ = strings.Cut(rest, "#")
	if after, ok := strings.CutPrefix(name, "//"); ok {
		end := strings.IndexByte(after, '/')
		if end < 0 {
			return "", "", "", errors.New("a host must be followed by a path, as in file:///var/lib/hooks.db")
		}
		host, name = "//"+after[:end], after[end:]
	}
	if name, err = url.PathUnescape(name); err == nil && strings.ContainsRune(name, 0) {
		err = errors.New("path contains a NUL")
	}
	return host, name, query, err
}

// ownNames reports whether a URI's parameters name a VFS, whose files need not be those
// of the operating system.
func ownNames(query string) bool {
	values, _ := url.ParseQuery(query)
	return values.Has("vfs")
}

// prepare makes sure that the database can be used.
func (s *Store) prepare(ctx context.Context, opts *Options) error {
	var readOnly, inMemory bool
	err := readWith(ctx, s.writer.pool, s.wait, func(c *conn) error {
		if r, ok := c.raw.(interface{ IsReadOnly(string) (bool, error) }); ok {
			readOnly, _ = r.IsReadOnly("main")
		}
		_, err := first(c, func(r row) { readOnly = readOnly || r.int(0) != 0 }, "PRAGMA query_only")
		if err != nil {
			return err
		}
		_, err = first(c, func(r row) { inMemory = r.text(0) == "" }, "SELECT file FROM pragma_database_list WHERE name = 'main'")
		return err
	})
	if err != nil {
		return err
	}
	if inMemory {
		return fmt.Errorf("%w: the database is not a file; store/memory keeps everything in memory", store.ErrInvalid)
	}
	if opts != nil && opts.NoMigrate || readOnly {
		err = checkMigrated(ctx, s.writer.pool, s.wait)
	} else {
		err = migrate(ctx, &s.writer)
	}
	if readOnly && !errors.Is(err, store.ErrNewerSchema) {
		return fmt.Errorf("%w: a queue must write", store.ErrReadOnly)
	}
	if err != nil {
		return err
	}
	return readWith(ctx, s.writer.pool, s.wait, func(c *conn) error {
		s.id, err = databaseID(c)
		return err
	})
}

// Durable returns true.
func (s *Store) Durable() bool { return true }

// Now returns the store's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := s.enter(); err != nil {
		return time.Time{}, err
	}
	defer s.calls.Done()
	return fromMicros(s.now()), ctx.Err()
}

// now is the store's clock in microseconds.
func (s *Store) now() int64 { return s.clock().UnixMicro() }

// Commits returns how many writing transactions this store has ended with a
// commit, claims that found nothing included. Beside the number of calls it shows
// how many of them shared one.
func (s *Store) Commits() int64 { return s.writer.commits.Load() }

// Close waits for running calls and ends the store's use; later calls return
// [store.ErrClosed]. It closes the database if [Open] opened it; a handle given to
// [New] stays open. Closing again waits for the first and returns its error.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		<-s.ended
		return s.err
	}
	s.calls.Wait()
	s.err = errors.Join(s.readers.close(), s.writer.pool.close())
	close(s.ended)
	return s.err
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

// write runs f in a transaction that other calls may share.
func (s *Store) write(ctx context.Context, f func(c *conn) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	return s.writer.do(ctx, f)
}

// read runs f in a transaction that only reads. See [readWith].
func (s *Store) read(ctx context.Context, f func(c *conn) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	return readWith(ctx, s.readers, s.wait, f)
}
