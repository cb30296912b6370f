package main

import "testing"

func TestParseWritten(t *testing.T) {
	for text, want := range map[string]int64{
		"rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n": 4096,
		"wchar: 2\n":       0,
		"write_bytes: x\n": 0,
		"":                 0,
	} {
		if got := parseWritten(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}
