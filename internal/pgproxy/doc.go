// Package pgproxy is a proxy for tests that stands before a PostgreSQL server. It
// knows where the messages of the protocol begin and end and which statement each is
// about, and breaks the connection where a test says: at the n-th message of a kind,
// and at any byte of it or after it.
//
// A proxy listens on a unix socket of its own. Clients of any kind, in this process or
// others, use it as they would use the server:
//
//	p := pgproxy.ForTest(t, "unix", "/var/run/postgresql/.s.PGSQL.5432")
//	pool, err := pgxpool.New(ctx, p.DSN("postgres"))
//	...
//	lost := p.Inject(pgproxy.Fault{ // the answer to the next COMMIT is lost
//		From: pgproxy.Server,
//		When: func(m pgproxy.Message) bool { return m.Type == 'C' && m.Text == "COMMIT" },
//		Do:   pgproxy.Cut,
//	})
//
// What happens does so at a place in a stream of bytes and never at a time, so that the
// same calls give the same fault.
//
// The proxy refuses to encrypt, since it has to read: sslmode=require fails.
package pgproxy
