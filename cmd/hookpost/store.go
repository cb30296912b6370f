package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
	"github.com/hookpost/hookpost/store/sqlite"
)

const envStore = "HOOKPOST_STORE"

// A storeSource says which store is meant, and whose part of it.
type storeSource struct {
	flag   string
	schema string
	tenant string
	mode   store.Mode
}

// storeFlags declares the flags of commands that work on one tenant's part.
func (c *call) storeFlags() *storeSource {
	s := c.databaseFlags()
	s.mode = store.Live
	anyTextFlag(c.flags, &s.tenant, "tenant", "the `TENANT` (none)")
	valueFlag(c.flags, &s.mode, "mode", "the `MODE`: live or test (live)", parseMode)
	return s
}

// databaseFlags declares the flags of commands that work on a whole store.
func (c *call) databaseFlags() *storeSource {
	s := &storeSource{}
	textFlag(c.flags, &s.flag, "store", "the `STORE` ("+envStore+"): sqlite:FILE or postgres://USER@HOST/DATABASE")
	textFlag(c.flags, &s.schema, "schema", "the `SCHEMA` of the tables in PostgreSQL ("+postgres.DefaultSchema+")")
	return s
}

// address returns what names the store, "" if nothing does.
func (s *storeSource) address(c *call) string {
	if s.flag != "" {
		return s.flag
	}
	return c.getenv(envStore)
}

// A database is where a store is. One of file and dsn is set.
type database struct {
	file, dsn, schema string
}

// database finds out which one is meant. No error repeats a DSN, which can hold a
// password.
func (s *storeSource) database(c *call) (database, error) {
	text := s.address(c)
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case text == "":
		return database{}, badInput("no store; name it with --store or %s, as sqlite:FILE or postgres://USER@HOST/DATABASE", envStore)
	case kind == "sqlite" && s.schema != "":
		return database{}, badInput("--schema is for PostgreSQL; SQLite has none")
	case kind == "sqlite" && rest != "":
		return database{file: rest}, nil
	case (kind == "postgres" || kind == "postgresql") && strings.HasPrefix(rest, "//"):
		return database{dsn: text, schema: s.schema}, nil
	}
	from := "--store"
	if s.flag == "" {
		from = envStore
	}
	return database{}, badInput("%s does not name a store; the forms are sqlite:FILE and postgres://USER@HOST/DATABASE", from)
}

// open opens the store as it is: no file and no table is made.
func (d database) open(ctx context.Context) (store.Store, func(), error) {
	if d.file != "" {
		if err := d.mustExist(); err != nil {
			return nil, nil, err
		}
		st, err := sqlite.Open(ctx, d.file, &sqlite.Options{NoMigrate: true})
		if err != nil {
			return nil, nil, err
		}
		return st, func() { _ = st.Close() }, nil
	}
	pool, err := d.pool(ctx)
	if err != nil {
		return nil, nil, err
	}
	st, err := postgres.New(pool, &postgres.Options{Schema: d.schema})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return st, func() { _ = st.Close(); pool.Close() }, nil
}

// mustExist keeps SQLite from making a new file where the name was mistyped.
func (d database) mustExist() error {
	name := d.file
	if strings.HasPrefix(name, "file:") {
		var ok bool
		if name, ok = fileOfURI(name); !ok {
			return nil // SQLite says what is wrong with it
		}
	}
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return trouble("there is no database %s; hookpost migrate makes one", d.file)
	}
	return nil
}

// fileOfURI returns the file that a URI of SQLite's names: "file:a.db?…",
// "file:/a.db" or "file:///a.db".
func fileOfURI(uri string) (name string, ok bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	name = u.Path
	if u.Opaque != "" {
		name, err = url.PathUnescape(u.Opaque)
	}
	if volume := strings.TrimPrefix(name, "/"); filepath.VolumeName(volume) != "" {
		name = volume // file:/C:/hooks.db
	}
	return filepath.FromSlash(name), err == nil && name != ""
}

// pool connects to PostgreSQL.
func (d database) pool(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(d.dsn)
	if err != nil {
		return nil, badInput("the store's URL can't be read; its form is postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE, special characters as %%XX")
	}
	config.MaxConns = 2
	config.ConnConfig.RuntimeParams["application_name"] = "hookpost"
	return pgxpool.NewWithConfig(ctx, config)
}

// use opens the store and calls f with the tenant's part of it. Options may be nil.
func (s *storeSource) use(ctx context.Context, c *call, o *sender.Options, f func(*sender.Tenant) error) error {
	db, err := s.database(c)
	if err != nil {
		return err
	}
	st, closeStore, err := db.open(ctx)
	if err != nil {
		return err
	}
	defer closeStore()
	var options sender.Options
	if o != nil {
		options = *o
	}
	if options.Keyring == nil && !options.PlaintextSecrets {
		options.Keyring = noKeys{}
	}
	options.Logger = slog.New(slog.NewTextHandler(c.stderr, nil))
	hooks, err := sender.New(st, &options)
	if err != nil {
		return err
	}
	return f(hooks.For(s.tenant, s.mode))
}

// whose names the tenant and mode in messages.
func (s *storeSource) whose() string {
	if s.tenant == "" {
		return s.mode.String() + " mode"
	}
	return fmt.Sprintf("%s mode of tenant %s", s.mode, s.tenant)
}

// missing puts store.ErrNotFound into words, since a forgotten --mode or --tenant is
// the usual cause.
func (s *storeSource) missing(err error, what, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		return refused("there is no %s %s in %s; --tenant and --mode choose another part of the store", what, id, s.whose())
	}
	return err
}

// noKeys is for commands that neither read nor write secrets.
type noKeys struct{}

var errNoKeys = errors.New("this command has no keys for secrets")

func (noKeys) Seal(_, _, _ []byte) (string, []byte, error) { return "", nil, errNoKeys }

func (noKeys) Open(_ []byte, _ string, _, _ []byte) ([]byte, error) { return nil, errNoKeys }

// asActor says in the endpoints' history who did it.
func asActor(ctx context.Context, given string) context.Context {
	if given == "" {
		given = "command line"
		if u, err := user.Current(); err == nil {
			given += ", " + u.Username
		}
	}
	return sender.WithActor(ctx, given)
}
