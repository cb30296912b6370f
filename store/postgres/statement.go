package postgres

import (
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// statements turns the texts in this package, which are written for the schema
// hookpost, into those for the store's own. Time is read only by the two functions
// replaced here, so that tests can shift it.
//
// A text that is used with an index says statement_timestamp(), which is constant
// within a statement and so an index condition. now() would be the beginning of
// the application's transaction.
type statements struct {
	replacer *strings.Replacer
	mark     string   // in front of each
	done     sync.Map // text to text
}

// ownMark begins the statements of the store's own transactions, by which they can be
// told from the application's in pg_stat_activity.
const ownMark = "/*hookpost*/ "

func newStatements(schema, shift, mark string) *statements {
	name := pgx.Identifier{schema}.Sanitize()
	literal := "'" + strings.ReplaceAll(name+".event_num", "'", "''") + "'"
	pairs := []string{"'hookpost.event_num'", literal, "hookpost.", name + "."}
	if shift != "" {
		pairs = append(pairs, "statement_timestamp()", "(statement_timestamp() + "+shift+")",
			"clock_timestamp()", "(clock_timestamp() + "+shift+")")
	}
	return &statements{replacer: strings.NewReplacer(pairs...), mark: mark}
}

// of returns the statement for a text. The texts are few: those of the log differ
// by which filters are set.
func (s *statements) of(text string) string {
	if v, ok := s.done.Load(text); ok {
		return v.(string)
	}
	v := s.mark + s.replacer.Replace(text)
	s.done.Store(text, v)
	return v
}

// Settings for one transaction, sent in front of its statements in the same round
// trip. All tables here are read through indexes: plans that are better for small
// tables would be kept while the tables grow.
const (
	settingsPlain = `SELECT set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true),
		set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)`

	// The endpoint sets and events of a batch are joined to each other, not to tables.
	settingsEnqueue = settingsPlain + `, set_config('enable_nestloop', 'off', true), set_config('lock_timeout', '100ms', true)`

	settingsIndex = settingsPlain + `, set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

	// A page comes in order from an index; more of it than needed is never sorted.
	settingsRead = settingsIndex + `, set_config('enable_sort', 'off', true)`

	// What others hold is left for a later commit.
	settingsSettle = settingsIndex + `, set_config('lock_timeout', '100ms', true)`

	settingsWrite = settingsIndex + `, set_config('lock_timeout', '5s', true)`
)
