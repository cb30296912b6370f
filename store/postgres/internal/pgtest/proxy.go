package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/internal/pgproxy"
)

// Proxy returns a proxy before the server, which ends with the test, and what makes a
// pool go through it.
func (s *Server) Proxy(t testing.TB) (p *pgproxy.Proxy, through func(*pgxpool.Config)) {
	t.Helper()
	config, err := pgconn.ParseConfig(s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	p = pgproxy.ForTest(t, network, address)
	return p, func(c *pgxpool.Config) {
		c.ConnConfig.Host, c.ConnConfig.Port = p.Host(), pgproxy.Port
		c.ConnConfig.TLSConfig, c.ConnConfig.Fallbacks = nil, nil
	}
}
