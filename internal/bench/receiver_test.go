package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTallyNamesWhatIsWrong(t *testing.T) {
	if err := (tally{Requests: 5, Distinct: 5}).check(5); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]tally{
		"lost":    {Requests: 4, Distinct: 4},
		"twice":   {Requests: 6, Distinct: 5},
		"refused": {Requests: 6, Distinct: 5, Refused: 1},
	} {
		if bad.check(5) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCounterTimesWhatSaysWhenItWasSent(t *testing.T) {
	c, err := newCounter()
	if err != nil {
		t.Fatal(err)
	}
	c.unchecked.Store(0)
	post := func(path, id string, sent time.Time) {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(newTimedPayload(1024).at(sent))))
		r.Header.Set("Webhook-Id", id)
		c.ServeHTTP(httptest.NewRecorder(), r)
	}
	post("/timed/0", "evt_1", time.Now().Add(-time.Hour))
	post("/timed/0", "evt_2", time.Time{})
	post("/timed/0", "evt_2", time.Time{})
	post("/hooks/0", "evt_3", time.Now().Add(-time.Hour))
	got := c.tally()
	if got.Requests != 4 || got.Distinct != 3 || got.Refused != 0 {
		t.Errorf("%+v, want 4 requests, 3 distinct", got)
	}
	if len(c.took) != 1 || got.P50 < time.Hour || got.P99 != got.P50 {
		t.Errorf("timed %v, p50 %s, p99 %s, want one of an hour", c.took, got.P50, got.P99)
	}
}
