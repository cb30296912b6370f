package main

import (
	"net/url"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgserver"
)

func TestPostgres(t *testing.T) {
	config, err := pgx.ParseConfig(pgserver.ForTest(t))
	require.NoError(t, err)
	address := func(host, password string) string {
		u := url.URL{
			Scheme: "postgres", User: url.UserPassword(config.User, password), Path: "/" + config.Database,
			RawQuery: url.Values{"host": {host}, "port": {strconv.Itoa(int(config.Port))}, "connect_timeout": {"5"}}.Encode(),
		}
		return u.String()
	}
	const schema = `the "command line`
	drop := func() {
		conn, err := pgx.ConnectConfig(t.Context(), config)
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
	}
	drop()
	s := newShell(t).with("HOOKPOST_STORE", address(config.Host, config.Password))
	s.refuses(t, exitTrouble, "hookpost migrate makes them", "endpoints", "--schema", schema)
	status, _, _ := s.call("migrate", "--check", "--schema", schema)
	require.Equal(t, exitNo, status)
	require.Contains(t, s.must(t, "migrate", "--schema", schema), "are those of this version now")
	require.Contains(t, s.must(t, "migrate", "--schema", schema), "nothing to do")

	s.must(t, "endpoints", "create", "https://example.com/", "--events", "payment.*", "--plaintext-secrets", "--schema", schema)
	require.Contains(t, s.must(t, "send", "--type", "payment.succeeded", "--schema", schema), "for 1 endpoint")
	require.Contains(t, s.must(t, "deliveries", "--schema", schema), "payment.succeeded")
	require.Contains(t, s.must(t, "recover", "--schema", schema), "0  exhausted deliveries")
	drop()

	s.refuses(t, exitBadInput, "schema names that begin with pg_", "migrate", "--schema", "pg_x")
	away := s.with("HOOKPOST_STORE", "postgres://u:hunter2@127.0.0.1:1/d?connect_timeout=5")
	for _, args := range [][]string{{"endpoints"}, {"migrate"}} {
		away.refuses(t, exitTrouble, "", args...)
		_, _, errs := away.call(args...)
		require.NotContains(t, errs, "hunter2")
	}
}
