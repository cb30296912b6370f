package sqlite

import "github.com/hookpost/hookpost/store"

// logged is a row for hookpost_attempt.
type logged struct {
	id store.DeliveryID
	store.Attempt
	startedAt int64 // in place of Attempt.StartedAt
}

// reported is the row for what a settlement says of its attempt.
func reported(s *store.Settlement, now int64) logged {
	return logged{id: s.ID, Attempt: s.Logged(), startedAt: now - s.Ago.Microseconds()}
}

var insertAttempt = newMulti(`INSERT OR FAIL INTO hookpost_attempt (event, endpoint, round, n, outcome,
	started_at, took, status, url, class, error, response_header, response_body) VALUES `,
	"(?,?,?,?,?,?,?,?,?,?,?,?,?)", ` ON CONFLICT (event, endpoint, round, n) DO UPDATE SET outcome = excluded.outcome,
	started_at = excluded.started_at, took = excluded.took, status = excluded.status, url = excluded.url, class = excluded.class,
	error = excluded.error, response_header = excluded.response_header, response_body = excluded.response_body
	WHERE outcome = 3 AND excluded.outcome <> 3`)

// insertAttempts writes to the log. Only an unknown attempt is replaced.
func insertAttempts(x execer, log []logged) error {
	var args []any
	return inBatches(len(log), func(from, to int) error {
		args = args[:0]
		for i := from; i < to; i++ {
			l := &log[i]
			args = append(args, l.id.Event, l.id.Endpoint, l.id.Round, l.N, int(l.Outcome),
				l.startedAt, l.Took.Microseconds(), l.Status, l.URL, l.Class, l.Error, orNullBytes(l.ResponseHeader), orNullBytes(l.ResponseBody))
		}
		_, err := x.exec(insertAttempt.rows(to-from), args...)
		return err
	})
}

func orNullBytes(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}
