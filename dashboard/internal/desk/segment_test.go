package desk

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

func TestSegment(t *testing.T) {
	for want, scope := range map[string]store.Scope{
		"live":              {Mode: store.Live},
		"test~acme":         {Tenant: "acme", Mode: store.Test},
		"live~a~20b~2f~7e":  {Tenant: "a b/~", Mode: store.Live},
		"live~~2e~2e":       {Tenant: "..", Mode: store.Live},
		"test~~c3~a4~ff":    {Tenant: "ä\xff", Mode: store.Test},
		"test~live":         {Tenant: "live", Mode: store.Test},
		"live~~7eacme~7e41": {Tenant: "~acme~41", Mode: store.Live},
	} {
		require.Equal(t, want, Segment(scope))
		got, ok := ParseSegment(want)
		require.True(t, ok, want)
		require.Equal(t, scope, got)
	}
	for _, bad := range []string{"", "~", "live~", "lives", "Live", "test~~4", "test~~zz", "test~~41", "test~a b", "test~ä", "live~~2E", "test/acme"} {
		_, ok := ParseSegment(bad)
		require.False(t, ok, bad)
	}
}

func FuzzSegment(f *testing.F) {
	f.Add("acme", "live~acme")
	f.Add("..", "test~~7e")
	f.Fuzz(func(t *testing.T, tenant, segment string) {
		scope := store.Scope{Tenant: tenant, Mode: store.Test}
		s := Segment(scope)
		require.Equal(t, s, url.PathEscape(s), "it needs no escaping")
		got, ok := ParseSegment(s)
		require.True(t, ok)
		require.Equal(t, scope, got)
		if scope, ok := ParseSegment(segment); ok {
			require.Equal(t, segment, Segment(scope), "one name for each scope")
		}
	})
}
