//go:build unix

package pgserver

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestServer(t *testing.T) {
	s, err := Start(t.Context(), "fsync=off", "port=5433")
	if skip(err) {
		t.Skip(none(err))
	}
	require.NoError(t, err)
	require.Equal(t, "host="+s.dir+" user=postgres dbname=postgres", s.DSN("postgres"))
	connect := func() error {
		c, err := net.Dial("unix", filepath.Join(s.dir, ".s.PGSQL.5433"))
		if err != nil {
			return err
		}
		return c.Close()
	}
	require.NoError(t, connect())
	require.NoError(t, s.Restart(t.Context()))
	require.NoError(t, connect())
	require.NoError(t, s.Stop())
	require.Error(t, connect())
	require.NoDirExists(t, s.dir)
}

func TestBadSetting(t *testing.T) {
	_, err := Start(t.Context(), "no_such_setting=1")
	if skip(err) {
		t.Skip(none(err))
	}
	require.ErrorContains(t, err, "no_such_setting")
}

func TestStandby(t *testing.T) {
	s, err := Start(t.Context(), "fsync=off")
	if skip(err) {
		t.Skip(none(err))
	}
	require.NoError(t, err)
	b, err := s.Standby(t.Context())
	if errors.Is(err, ErrNoBackup) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.NotEqual(t, s.DSN("postgres"), b.DSN("postgres"))
	recovering := filepath.Join(b.data(), "standby.signal")
	require.FileExists(t, recovering)
	require.NoError(t, s.Stop())
	require.NoError(t, b.Promote(t.Context()))
	require.NoFileExists(t, recovering)
	require.NoError(t, b.Stop())
	require.NoDirExists(t, b.dir)
}

func TestBouncer(t *testing.T) {
	b := BouncerForTest(t, Upstream{Host: "/nowhere", Port: 5432, User: "postgres"}, 0)
	socket := filepath.Join(b.dir, ".s.PGSQL.6432")
	require.Equal(t, "host="+b.dir+" port=6432 user=postgres dbname=postgres", b.DSN("postgres"))
	for range 2 {
		c, err := net.Dial("unix", socket)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, b.Restart(t.Context()))
	}
	require.NoError(t, b.Stop())
	_, err := net.Dial("unix", socket)
	require.Error(t, err)
	require.NoDirExists(t, b.dir)
}

func TestBadBouncer(t *testing.T) {
	b := BouncerForTest(t, Upstream{Host: "/nowhere", Port: 5432, User: "postgres"}, 0)
	require.NoError(t, b.Stop())
	to := Upstream{Host: "/nowhere\nnonsense", Port: 5432, User: "postgres"}
	for patience := 300 * time.Millisecond; ; patience *= 4 { // a busy machine needs longer to start it
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := StartBouncer(ctx, to, 0)
		cancel()
		require.Error(t, err)
		if patience > time.Minute || strings.Contains(err.Error(), "syntax error") {
			require.ErrorContains(t, err, "takes no connections")
			require.ErrorContains(t, err, "syntax error")
			return
		}
	}
}

func TestNone(t *testing.T) {
	t.Setenv("CI", "")
	require.True(t, skip(ErrNone))
	require.False(t, skip(errors.New("initdb failed")))
	require.False(t, skip(nil))
	t.Setenv("CI", "true")
	require.False(t, skip(ErrNone))
}

func TestGivenDSN(t *testing.T) {
	t.Setenv(EnvDSN, "host=somewhere")
	require.Equal(t, "host=somewhere", ForTest(t))
}
