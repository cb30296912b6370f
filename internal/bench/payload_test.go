package main

import (
	"encoding/json"
	"testing"
	"time"
)

func TestPayloadHasItsSize(t *testing.T) {
	for size := minPayload; size < minPayload+200; size++ {
		if got := len(payload(size)); got != size {
			t.Fatalf("payload(%d) has %d bytes", size, got)
		}
	}
}

func TestTimedPayload(t *testing.T) {
	sent := time.Unix(1_790_000_000, 123_456_789)
	data := newTimedPayload(1024).at(sent)
	if !json.Valid(data) || len(data) != 1024 {
		t.Errorf("not 1024 bytes of JSON: %s", data)
	}
	if got := sentAt(envelope(data, eventType(0))); !got.Equal(sent) {
		t.Errorf("it was sent at %s, want %s", got, sent)
	}
}

func TestSentAt(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want int64
	}{
		"as it was written":   {`{"data":{"sent_at":"1790000000123456789","id":1}}`, 1790000000123456789},
		"as PostgreSQL wrote": {`{"data":{"id": 1, "sent_at": "1790000000123456789"}}`, 1790000000123456789},
		"not to be timed":     {string(newTimedPayload(1024).at(time.Time{})), 0},
		"absent":              {`{"data":{}}`, 0},
		"cut off":             {`{"data":{"sent_at":"179`, 0},
		"no number":           {`{"data":{"sent_at":"now"}}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			want := time.Time{}
			if c.want != 0 {
				want = time.Unix(0, c.want)
			}
			if got := sentAt([]byte(c.body)); !got.Equal(want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
