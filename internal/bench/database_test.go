package main

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestParseProcess(t *testing.T) {
	for name, c := range map[string]struct {
		stat string
		want process
		bad  bool
	}{
		"a server": {
			stat: "12 (postgres) S 11 12 12 0 -1 4194560 1 2 3 4 150 50 700 300 20 0 1 0",
			want: process{name: "postgres", parent: 11, own: 2 * time.Second, ended: 10 * time.Second},
		},
		"a name with anything in it": {
			stat: "12 (a) S (b) S 11 12 12 0 -1 4194560 1 2 3 4 1 0 0 0 20 0 1 0",
			want: process{name: "a) S (b", parent: 11, own: 10 * time.Millisecond},
		},
		"no name":   {stat: "12 postgres S 11", bad: true},
		"too short": {stat: "12 (postgres) S 11 12 12 0", bad: true},
		"no number": {stat: "12 (postgres) S x 12 12 0 -1 4194560 1 2 3 4 150 50 700 300 20 0 1 0", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseProcess(c.stat)
			if (err != nil) != c.bad || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestCPUOfNoServer(t *testing.T) {
	for _, db := range []*database{nil, {}} {
		if got := db.cpu(); got != 0 {
			t.Errorf("got %s for a server that is not known", got)
		}
	}
}

// A round trip ends with the first that is read after something was written, whatever
// the number of writes before it and of reads after it.
func TestRoundTripsAreCounted(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	db := &database{}
	c := &countedConn{Conn: here, trips: &db.trips}
	defer c.Close()
	go func() { _, _ = io.Copy(there, there) }() // answers with what it hears
	read := func(n int) {
		t.Helper()
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := c.Write([]byte("abcd")); err != nil {
			t.Fatal(err)
		}
		read(1)
		read(3)
	}
	if got := db.roundTrips(); got != 3 {
		t.Errorf("%d round trips, want 3", got)
	}
	go func() { _, _ = there.Write([]byte("news")) }()
	read(4)
	if got := db.roundTrips(); got != 3 {
		t.Errorf("%d round trips after news that nobody asked for, want 3", got)
	}
}
