package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// A web site whose name leads here is refused, and told why.
func TestOwnHost(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, c := range []struct {
		addr, host string
		ok         bool
	}{
		{"127.0.0.1:8088", "127.0.0.1:8088", true},
		{"127.0.0.1:8088", "localhost:8088", true},
		{"127.0.0.1:8088", "LOCALHOST.", true},
		{"127.0.0.1:8088", "shop.localhost:8088", true},
		{":8088", "192.0.2.7:8088", true},
		{":8088", "[::1]:8088", true},
		{":8088", "[fe80::1]", true},
		{"shop.internal:8088", "shop.internal:8088", true},
		{"shop.internal:8088", "Shop.Internal", true},
		{"127.0.0.1:8088", "rebound.example:8088", false},
		{"127.0.0.1:8088", "127.0.0.1.nip.example", false},
		{"127.0.0.1:8088", "localhost.example", false},
		{"127.0.0.1:8088", "notlocalhost", false},
		{":8088", "", false},
		{":8088", ":8088", false},
		{"shop.internal:8088", "other.internal:8088", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		ownHost(c.addr, page).ServeHTTP(w, r)
		if c.ok {
			require.Equal(t, http.StatusOK, w.Code, "%s for %s", c.host, c.addr)
			continue
		}
		require.Equal(t, http.StatusForbidden, w.Code, "%s for %s", c.host, c.addr)
		require.Contains(t, w.Body.String(), "-addr NAME:PORT")
	}
}
