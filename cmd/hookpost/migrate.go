package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
	"github.com/hookpost/hookpost/store/sqlite"
)

var migrateCommand = command{
	name:  "migrate",
	short: "make the store's tables, or bring them up to date",
	long: `
It is safe from many machines at once, and does nothing if there is nothing to do.
No other command changes tables or makes a database.

--check changes nothing; its exit status is 1 if there is something to do. --sql
prints the statements, for a migration tool of your own; of the store only the kind
matters then, and no connection is made.`,
	prepare: func(c *call) func(context.Context) error {
		src := c.databaseFlags()
		var check, print bool
		boolFlag(c.flags, &check, "check", "only say whether there is something to do")
		boolFlag(c.flags, &print, "sql", "print the statements")
		return func(ctx context.Context) error {
			db, err := src.database(c)
			switch {
			case err != nil:
				return err
			case check && print:
				return badInput("--check and --sql contradict each other; give one of them")
			case print:
				return c.printMigrations(db)
			}
			current, err := db.current(ctx)
			if err != nil {
				return err
			}
			if check && !current {
				if err := c.printMigrated(false, false); err != nil {
					return err
				}
				return saidNo
			}
			if !current {
				if err := db.migrate(ctx); err != nil {
					return err
				}
			}
			return c.printMigrated(true, !current)
		}
	},
}

// current reports whether the tables are those of this version.
func (d database) current(ctx context.Context) (bool, error) {
	if d.file != "" && d.mustExist() != nil {
		return false, nil
	}
	_, closeStore, err := d.open(ctx)
	if errors.Is(err, store.ErrNotMigrated) {
		return false, nil
	}
	if err == nil {
		closeStore()
	}
	return err == nil, err
}

func (d database) migrate(ctx context.Context) error {
	if d.file != "" {
		st, err := sqlite.Open(ctx, d.file, nil)
		if err != nil {
			return err
		}
		return st.Close()
	}
	pool, err := d.pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	return postgres.Migrate(ctx, pool, &postgres.Options{Schema: d.schema})
}

func (c *call) printMigrated(current, changed bool) error {
	if c.json {
		return c.out.json(map[string]bool{"current": current, "changed": changed})
	}
	text := "There is nothing to do: the tables are those of this version."
	switch {
	case !current:
		text = "The tables are missing or old; hookpost migrate makes them."
	case changed:
		text = "The tables are those of this version now."
	}
	fmt.Fprintln(c.out, text)
	return nil
}

// printMigrations prints the files of SQL in order.
func (c *call) printMigrations(db database) error {
	files := postgres.Migrations()
	if db.file != "" {
		files = sqlite.Migrations()
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return err
	}
	type file struct {
		Name string `json:"name"`
		SQL  string `json:"sql"`
	}
	var all []file
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		all = append(all, file{name, inSchema(string(text), db)})
	}
	if db.dsn != "" {
		all[0].SQL = fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s;\n\n", schemaName(db)) + all[0].SQL
	}
	if c.json {
		return c.out.json(map[string][]file{"migrations": all})
	}
	for _, f := range all {
		fmt.Fprintf(c.out, "-- %s\n%s\n", f.Name, strings.TrimSpace(f.SQL))
	}
	return nil
}

// inSchema puts the tables of PostgreSQL into the schema that was asked for.
func inSchema(text string, db database) string {
	if db.schema == "" {
		return text
	}
	return strings.ReplaceAll(text, postgres.DefaultSchema+".", schemaName(db)+".")
}

func schemaName(db database) string {
	if db.schema == "" {
		return postgres.DefaultSchema
	}
	return pgx.Identifier{db.schema}.Sanitize()
}
