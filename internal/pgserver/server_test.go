//go:build unix

package pgserver

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

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
