package sender

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

var testNow = time.Date(2026, 5, 24, 10, 2, 14, 0, time.UTC)

func fixedID() (string, error) { return "evt_1", nil }

func TestEnvelope(t *testing.T) {
	accra := time.FixedZone("", 5*3600)
	for name, tc := range map[string]struct {
		event Event
		want  string
	}{
		"value": {
			Event{ID: "evt_a1b2c3d4", Type: "payment.succeeded", Data: struct {
				ID       string `json:"id"`
				Amount   int    `json:"amount"`
				Currency string `json:"currency"`
			}{"pay_xyz789", 5000, "GHS"}},
			`{"id":"evt_a1b2c3d4","type":"payment.succeeded","created_at":"2026-05-24T10:02:14.000000Z","data":{"id":"pay_xyz789","amount":5000,"currency":"GHS"}}`,
		},
		"no HTML escaping": {
			Event{Type: "push", Data: map[string]string{"q": "<a&b>"}},
			`{"id":"evt_1","type":"push","created_at":"2026-05-24T10:02:14.000000Z","data":{"q":"<a&b>"}}`,
		},
		"bytes as they are": {
			Event{Type: "push", Data: []byte(" {\"a\" : 1.0,\n \"b\":\"\\u003c\"} ")},
			"{\"id\":\"evt_1\",\"type\":\"push\",\"created_at\":\"2026-05-24T10:02:14.000000Z\",\"data\": {\"a\" : 1.0,\n \"b\":\"\\u003c\"} }",
		},
		"raw message as it is": {
			Event{Type: "push", Data: json.RawMessage(`[1, 2]`)},
			`{"id":"evt_1","type":"push","created_at":"2026-05-24T10:02:14.000000Z","data":[1, 2]}`,
		},
		"no data": {
			Event{Type: "push"},
			`{"id":"evt_1","type":"push","created_at":"2026-05-24T10:02:14.000000Z","data":null}`,
		},
		"UTC, to the microsecond": {
			Event{Type: "push", Data: 1, CreatedAt: time.Date(2026, 1, 1, 1, 0, 0, 120_000_999, accra)},
			`{"id":"evt_1","type":"push","created_at":"2025-12-31T20:00:00.120000Z","data":1}`,
		},
		"raw body": {
			Event{Type: "push", Body: []byte("a=1&b=2"), ContentType: "application/x-www-form-urlencoded"},
			"a=1&b=2",
		},
		"empty raw body": {
			Event{Type: "push", Body: []byte{}},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := tc.event.prepare(testNow, fixedID, 0, false)
			require.NoError(t, err)
			require.Equal(t, tc.want, string(out.Body))
			require.NotNil(t, out.Body)
			if tc.event.ContentType == "" {
				require.Equal(t, "application/json", out.ContentType)
			} else {
				require.Equal(t, tc.event.ContentType, out.ContentType)
			}
			require.False(t, out.CreatedAt.IsZero())
		})
	}
}

// Texts of one form, which sort as the times do, and are what is stored.
func TestCreatedAtHasSixFractionDigits(t *testing.T) {
	last := ""
	for _, at := range []time.Time{
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		testNow, testNow.Add(999), testNow.Add(time.Microsecond), testNow.Add(10 * time.Microsecond), testNow.Add(100 * time.Millisecond),
		testNow.Add(120 * time.Millisecond), testNow.Add(123_456_789), testNow.Add(time.Second),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		for _, e := range []Event{{Type: "push", CreatedAt: at}, {Type: "push", CreatedAt: at.In(time.FixedZone("", -3600))}} {
			out, err := e.prepare(testNow, fixedID, 0, false)
			if err != nil { // the first one in a zone west of Greenwich has the year -1
				require.ErrorIs(t, err, ErrInvalidEvent)
				continue
			}
			var sent struct {
				CreatedAt string `json:"created_at"`
			}
			require.NoError(t, json.Unmarshal(out.Body, &sent))
			require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`, sent.CreatedAt)
			read, err := time.Parse("2006-01-02T15:04:05.000000Z", sent.CreatedAt)
			require.NoError(t, err)
			require.True(t, read.Equal(out.CreatedAt), "stored as %s, sent as %s", out.CreatedAt, sent.CreatedAt)
			require.LessOrEqual(t, last, sent.CreatedAt)
			last = sent.CreatedAt
		}
	}
}

func TestEventRefused(t *testing.T) {
	long := strings.Repeat("a", 256)
	for name, tc := range map[string]struct {
		event Event
		field string
	}{
		"no type":                  {Event{}, "Type"},
		"type with spaces":         {Event{Type: "payment succeeded"}, "Type"},
		"type ending in a stop":    {Event{Type: "payment."}, "Type"},
		"type with an empty word":  {Event{Type: "payment..x"}, "Type"},
		"type starting with stop":  {Event{Type: ".x"}, "Type"},
		"type with NUL":            {Event{Type: "a\x00b"}, "Type"},
		"type too long":            {Event{Type: long[:129]}, "Type"},
		"type with quote":          {Event{Type: `a"b`}, "Type"},
		"reserved type":            {Event{Type: "webhook.test"}, "Type"},
		"id with a full stop":      {Event{Type: "a", ID: "evt.1"}, "ID"},
		"id too long":              {Event{Type: "a", ID: long[:65]}, "ID"},
		"id with invalid UTF-8":    {Event{Type: "a", ID: "evt\xff"}, "ID"},
		"data not JSON":            {Event{Type: "a", Data: []byte("{a:1}")}, "Data"},
		"data with two values":     {Event{Type: "a", Data: []byte("1 2")}, "Data"},
		"data breaking out":        {Event{Type: "a", Data: []byte(`1,"id":"x"`)}, "Data"},
		"data with NUL":            {Event{Type: "a", Data: json.RawMessage("\"a\x00b\"")}, "Data"},
		"data with invalid UTF-8":  {Event{Type: "a", Data: json.RawMessage("\"\xff\"")}, "Data"},
		"data with byte order":     {Event{Type: "a", Data: []byte("\xef\xbb\xbf{}")}, "Data"},
		"empty data":               {Event{Type: "a", Data: []byte{}}, "Data"},
		"nil bytes":                {Event{Type: "a", Data: []byte(nil)}, "Data"},
		"data not marshallable":    {Event{Type: "a", Data: math.Inf(1)}, "Data"},
		"data a channel":           {Event{Type: "a", Data: make(chan int)}, "Data"},
		"data over the limit":      {Event{Type: "a", Data: strings.Repeat("x", 1<<20)}, "Data"},
		"raw data over the limit":  {Event{Type: "a", Data: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}, "Data"},
		"body over the limit":      {Event{Type: "a", Body: make([]byte, 1<<20+1)}, "Body"},
		"body and data":            {Event{Type: "a", Body: []byte("x"), Data: 1}, "Body"},
		"content type injection":   {Event{Type: "a", ContentType: "text/plain\r\nX: y"}, "ContentType"},
		"content type of one word": {Event{Type: "a", ContentType: "json"}, "ContentType"},
		"year 10000":               {Event{Type: "a", CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "CreatedAt"},
		"nine refs":                {Event{Type: "a", Refs: strings.Split("123456789", "")}, "Refs"},
		"empty ref":                {Event{Type: "a", Refs: []string{""}}, "Refs"},
		"ref too long":             {Event{Type: "a", Refs: []string{long}}, "Refs"},
		"ref with NUL":             {Event{Type: "a", Refs: []string{"a\x00"}}, "Refs"},
		"ref with invalid UTF-8":   {Event{Type: "a", Refs: []string{"a\xff"}}, "Refs"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.event.prepare(testNow, fixedID, 0, false)
			require.ErrorIs(t, err, ErrInvalidEvent)
			var eventErr *EventError
			require.ErrorAs(t, err, &eventErr)
			require.Equal(t, tc.field, eventErr.Field)
			require.NotEmpty(t, eventErr.Problem)
			require.Less(t, len(err.Error()), 400)
		})
	}
}

func TestEventLimits(t *testing.T) {
	e := Event{Type: "a", Data: []byte(`"` + strings.Repeat("x", 2<<20) + `"`)}
	_, err := e.prepare(testNow, fixedID, -1, false)
	require.NoError(t, err, "a negative limit is none")

	e = Event{Type: "webhook.test"}
	_, err = e.prepare(testNow, fixedID, 0, true)
	require.NoError(t, err)

	e = Event{Type: "a"}
	broken := errors.New("no entropy")
	_, err = e.prepare(testNow, func() (string, error) { return "", broken }, 0, false)
	require.ErrorIs(t, err, broken)
}

func TestEventIsACopy(t *testing.T) {
	e := Event{Type: "a", Body: []byte("body"), Refs: []string{"r"}}
	out, err := e.prepare(testNow, fixedID, 0, false)
	require.NoError(t, err)
	e.Body[0], e.Refs[0] = 'B', "R"
	require.Equal(t, "body", string(out.Body))
	require.Equal(t, []string{"r"}, out.Refs)
}

func TestContentHash(t *testing.T) {
	hash := func(e Event) [32]byte {
		out, err := e.prepare(testNow, fixedID, 0, false)
		require.NoError(t, err)
		return out.Hash
	}
	base := hash(Event{Type: "a.b", Data: []byte(`{"x":1}`)})
	require.Equal(t, base, hash(Event{Type: "a.b", Data: json.RawMessage(`{"x":1}`)}))
	require.Equal(t, base, hash(Event{Type: "a.b", Data: map[string]int{"x": 1}}), "marshalled to the same bytes")
	require.Equal(t, base, hash(Event{Type: "a.b", Data: []byte(`{"x":1}`), CreatedAt: testNow.Add(time.Hour), Refs: []string{"r"}}))
	require.Equal(t, base, hash(Event{Type: "a.b", Data: []byte(`{"x":1}`), ContentType: "application/json"}))
	for name, e := range map[string]Event{
		"type":         {Type: "a.c", Data: []byte(`{"x":1}`)},
		"data":         {Type: "a.b", Data: []byte(`{"x":2}`)},
		"white space":  {Type: "a.b", Data: []byte(`{"x": 1}`)},
		"content type": {Type: "a.b", Data: []byte(`{"x":1}`), ContentType: "application/vnd.x+json"},
		"raw":          {Type: "a.b", Body: []byte(`{"x":1}`)},
	} {
		require.NotEqual(t, base, hash(e), name)
	}
}

func TestNewEventID(t *testing.T) {
	shape := regexp.MustCompile(`^evt_[0-9a-f]{12}7[0-9a-f]{19}$`)
	a, err := newEventID(nil)
	require.NoError(t, err)
	b, err := newEventID(nil)
	require.NoError(t, err)
	require.Regexp(t, shape, a)
	require.True(t, signing.ValidID(a))
	require.Less(t, a, b, "ids grow")
	_, err = newEventID(bytes.NewReader(nil))
	require.Error(t, err)
	c, err := newEventID(bytes.NewReader(make([]byte, 64)))
	require.NoError(t, err)
	require.Regexp(t, shape, c)
}

func TestPrepareAllocations(t *testing.T) {
	e := Event{ID: "evt_1", Type: "payment.succeeded", Data: json.RawMessage(`{"amount":5000,"currency":"GHS"}`)}
	got := testing.AllocsPerRun(100, func() {
		if _, err := e.prepare(testNow, fixedID, 0, false); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, got, 2.0, "the body, and the parse of nothing else")
}

func FuzzPrepare(f *testing.F) {
	f.Add("evt_1", "payment.succeeded", []byte(`{"a":1}`), "ref")
	f.Add("", "webhook.x", []byte(`"`), "")
	f.Add("a.b", "a b", []byte("\xff"), "\x00")
	f.Fuzz(func(t *testing.T, id, typ string, data []byte, ref string) {
		e := Event{ID: id, Type: typ, Data: data, Refs: []string{ref}}
		out, err := e.prepare(testNow, fixedID, 0, false)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalidEvent)
			require.True(t, utf8.ValidString(err.Error()))
			return
		}
		var got struct {
			ID        string          `json:"id"`
			Type      string          `json:"type"`
			CreatedAt time.Time       `json:"created_at"`
			Data      json.RawMessage `json:"data"`
		}
		dec := json.NewDecoder(bytes.NewReader(out.Body))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&got))
		require.Equal(t, out.ID, got.ID)
		require.Equal(t, typ, got.Type)
		require.True(t, testNow.Equal(got.CreatedAt))
		require.Equal(t, bytes.Trim(data, " \t\r\n"), []byte(got.Data))
		require.True(t, bytes.HasSuffix(out.Body, append(bytes.Clone(data), '}')))
	})
}
