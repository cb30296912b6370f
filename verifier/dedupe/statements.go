package dedupe

import (
	"regexp"
	"strings"
)

// A Dialect is a kind of database.
type Dialect int

// The dialects that [NewSQL] knows.
const (
	SQLite     Dialect = iota + 1 // from version 3.24
	PostgreSQL                    // from version 9.5
)

var (
	tableForm  = regexp.MustCompile(`^([a-z_][a-z0-9_]{0,49}\.)?[a-z_][a-z0-9_]{0,49}$`)
	sourceForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{0,64}$`)
)

// forEver is 1,000 years in milliseconds.
const forEver = int64(1000*365*24) * 3600 * 1000

// statements are the SQL texts for a dialect and table.
//
// A row is a claim or a mark, and valid until a time. After that it is as if
// it weren't there; it is deleted an hour later, so that a slow handler can
// still mark its event if nobody else has claimed it.
type statements struct {
	dialect Dialect
	schema  []string

	insert  string // id, claim, milliseconds
	renew   string // the same, over a row that has expired
	look    string // id
	mark    string // id, claim, milliseconds
	release string // id, claim
	prune   string // rows
}

func newStatements(dialect Dialect, table string) statements {
	schema, name := "", table
	if before, after, ok := strings.Cut(table, "."); ok {
		schema, name = before+".", after
	}
	// Where the schema goes in a CREATE INDEX is a matter of the dialect.
	index, on := name+"_valid_until", table
	now := "(extract(epoch FROM statement_timestamp()) * 1000)::bigint"
	parameter, old := "$", "= ANY (ARRAY({old} FOR UPDATE SKIP LOCKED))"
	if dialect == SQLite {
		index, on = schema+index, name
		now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
		parameter, old = "?", "IN ({old})"
	}
	fill := func(text string) string {
		text = strings.ReplaceAll(text, "$", parameter)
		return strings.NewReplacer("{table}", table, "{index}", index, "{on}", on, "{now}", now).Replace(text)
	}
	return statements{
		dialect: dialect,
		schema: []string{
			fill(`CREATE TABLE IF NOT EXISTS {table} (
	id          text PRIMARY KEY,
	claim       text NOT NULL,    -- who has it
	done        boolean NOT NULL, -- false: a handler is at work
	valid_until bigint NOT NULL   -- milliseconds since 1970
)`),
			fill(`CREATE INDEX IF NOT EXISTS {index} ON {on} (valid_until)`),
		},
		// Without the condition PostgreSQL waits, before it decides about the conflict,
		// for the end of a handler's transaction that has marked the row.
		insert: fill(`INSERT INTO {table} (id, claim, done, valid_until)
SELECT CAST($1 AS text), CAST($2 AS text), FALSE, {now} + $3 WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE id = $1)
ON CONFLICT (id) DO NOTHING`),
		renew: fill(`UPDATE {table} SET claim = $2, done = FALSE, valid_until = {now} + $3
WHERE id = $1 AND valid_until <= {now}`),
		look:    fill(`SELECT claim, done, valid_until > {now} FROM {table} WHERE id = $1`),
		mark:    fill(`UPDATE {table} SET done = TRUE, valid_until = {now} + $3 WHERE id = $1 AND claim = $2`),
		release: fill(`DELETE FROM {table} WHERE id = $1 AND claim = $2 AND NOT done`),
		prune: fill(`DELETE FROM {table} WHERE id ` + strings.Replace(old, "{old}",
			`SELECT id FROM {table} WHERE valid_until <= {now} - 3600000 ORDER BY valid_until LIMIT $1`, 1)),
	}
}
