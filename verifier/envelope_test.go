package verifier_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

func TestEnvelope(t *testing.T) {
	v := newVerifier(t, nil)
	const head = `{"id":"evt_1","type":"push","created_at":"2026-05-24T10:02:14Z"`
	for _, c := range []struct {
		name string
		body string
		typ  string // "" for a body that is no envelope
		data string
	}{
		{"object", head + `,"data":{"a":[1,{"b":"}"}]}}`, "push", `{"a":[1,{"b":"}"}]}`},
		{"array", head + `,"data":[1, 2]}`, "push", `[1, 2]`},
		{"string", head + `,"data":"a\"}\\"}`, "push", `"a\"}\\"`},
		{"number", head + `,"data":-1.5e3}`, "push", `-1.5e3`},
		{"number and space", head + `,"data":1 }`, "push", `1`},
		{"null", head + `,"data":null}`, "push", `null`},
		{"empty array", head + `,"data":[]}`, "push", `[]`},
		{"order and space", " {\n\"data\" : {} ,\t\"created_at\":\"2026-05-24T10:02:14Z\", \"type\":\"push\" , \"id\" : \"evt_1\" }\r\n", "push", `{}`},
		{"more members", head + `,"x":[[[]]],"data":true,"y":{"data":1}}`, "push", `true`},
		{"escaped names", `{"\u0069d":"evt_1","type":"pu\u0073h","created_at":"2026-05-24T10:02:14Z","data":1}`, "push", `1`},
		{"other zone", `{"id":"evt_1","type":"push","created_at":"2026-05-24T12:02:14+02:00","data":1}`, "push", `1`},
		{"payload of the standard", `{"type":"push","timestamp":"2026-05-24T10:02:14.000000Z","data":{"id":"x"}}`, "push", `{"id":"x"}`},
		{"its id is not the signed one", `{"id":"other","type":"push","timestamp":"2026-05-24T10:02:14Z","data":{}}`, "push", `{}`},
		{"Stripe", `{"id":"evt_1","object":"event","created":1779616934,"type":"push","data":{"object":{}}}`, "push", `{"object":{}}`},
		{"Stripe, thin", `{"id":"evt_1","object":"v2.core.event","created":"2026-05-24T10:02:14.000Z","type":"push"}`, "push", ``},
		{"OpenAI", `{"object":"event","id":"evt_x","type":"push","created_at":1779616934,"data":{"id":"resp_1"}}`, "push", `{"id":"resp_1"}`},
		{"milliseconds", `{"type":"push","timestamp":1779616934000,"data":{}}`, "push", `{}`},
		{"created_at counts", `{"type":"push","created":1,"timestamp":2,"created_at":1779616934,"data":{}}`, "push", `{}`},
		{"the first that is a time counts", `{"type":"push","created_at":"yesterday","timestamp":{},"created":1779616934}`, "push", ``},
		{"byte order mark", "\ufeff" + head + `,"data":[1]}`, "push", `[1]`},
		{"byte order mark and space", "\ufeff \r\n" + head + `,"data":[1]}`, "push", `[1]`},
		{"id is a number", `{"id":7,"type":"push","created_at":"2026-05-24T10:02:14Z","data":1}`, "push", `1`},
		{"empty id", `{"id":"","type":"push","created_at":"2026-05-24T10:02:14Z","data":1}`, "push", `1`},

		{"empty", "", "", ""},
		{"text", "hello", "", ""},
		{"cut off", head + `,"data":1`, "", ""},
		{"two values", head + `,"data":1}{}`, "", ""},
		{"array of envelopes", "[" + head + `,"data":1}]`, "", ""},
		{"empty object", "{}", "", ""},
		{"no data and no time", `{"id":"evt_1","type":"push"}`, "", ""},
		{"no type", `{"id":"evt_1","created_at":"2026-05-24T10:02:14Z","data":1}`, "", ""},
		{"type is a number", `{"id":"evt_1","type":1,"created_at":"2026-05-24T10:02:14Z","data":1}`, "", ""},
		{"neither data nor a real time", `{"type":"push","created":false}`, "", ""},
		{"empty type", `{"id":"evt_1","type":"","created_at":"2026-05-24T10:02:14Z","data":1}`, "", ""},
		{"upper-case name", `{"ID":"evt_1","Type":"push","created_at":"2026-05-24T10:02:14Z","data":1}`, "", ""},
		{"id twice", head + `,"data":1,"id":"evt_2"}`, "", ""},
		{"data twice", head + `,"data":1,"data":2}`, "", ""},
		{"invalid UTF-8", "{\"id\":\"evt_1\",\"type\":\"pu\xffh\",\"created_at\":\"2026-05-24T10:02:14Z\",\"data\":1}", "", ""},
		{"byte order mark behind space", " \ufeff" + head + `,"data":1}`, "", ""},
		{"two byte order marks", "\ufeff\ufeff" + head + `,"data":1}`, "", ""},
		{"deep", strings.Repeat("[", 100_000), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := v.ConstructEvent([]byte(c.body), sign(t, signing.Standard, "evt_1", c.body))
			require.NoError(t, err)
			require.Equal(t, "evt_1", e.ID)
			require.Equal(t, c.body, string(e.Body))
			require.Equal(t, c.typ, e.Type)
			require.Equal(t, c.data, string(e.Data))
			require.Equal(t, signing.Coverage{ID: true, Type: c.typ != "", Time: true}, e.Signed)
			require.Equal(t, c.data == "", e.Data == nil)
			if c.typ == "" {
				require.Zero(t, e.CreatedAt)
			} else {
				require.True(t, time.Date(2026, 5, 24, 10, 2, 14, 0, time.UTC).Equal(e.CreatedAt))
			}
		})
	}
}

// The time is not needed, and what isn't one is not taken for one.
func TestEnvelopeWithoutTime(t *testing.T) {
	v := newVerifier(t, nil)
	for _, member := range []string{
		``, `"created_at":null,`, `"created_at":"",`, `"created_at":"yesterday",`, `"created_at":"2026-05-24",`, `"timestamp":0,`,
		`"timestamp":-1779616934,`, `"timestamp":1779616934.5,`, `"timestamp":1e9,`, `"timestamp":253402300800000,`,
		`"timestamp":99999999999999999999,`, `"created":true,`, `"created":"1779616934",`, `"created":["2026-05-24T10:02:14Z"],`,
	} {
		body := `{"type":"push",` + member + `"data":1}`
		e, err := v.ConstructEvent([]byte(body), sign(t, signing.Standard, "evt_1", body))
		require.NoError(t, err)
		require.Equal(t, "push", e.Type, body)
		require.Zero(t, e.CreatedAt, body)
	}
	body := `{"type":"push","timestamp":253402300799999,"data":1}`
	e, err := v.ConstructEvent([]byte(body), sign(t, signing.Standard, "evt_1", body))
	require.NoError(t, err)
	require.Equal(t, "9999-12-31T23:59:59.999Z", e.CreatedAt.Format(time.RFC3339Nano))
}

// Without a signed id, the envelope's counts, and a raw body has none.
func TestEnvelopeWithoutSignedID(t *testing.T) {
	scheme := signing.Timestamped("X-Sig")
	v := newVerifier(t, &verifier.Options{Scheme: scheme})
	e, err := v.ConstructEvent([]byte(paymentBody), sign(t, scheme, "", paymentBody))
	require.NoError(t, err)
	require.Equal(t, "evt_a1b2c3d4", e.ID)
	e, err = v.ConstructEvent([]byte("raw"), sign(t, scheme, "", "raw"))
	require.NoError(t, err)
	require.Equal(t, verifier.Event{Body: []byte("raw"), Timestamp: now.UTC(), Signed: signing.Coverage{Time: true}}, e)
}

// Whatever is in a genuinely signed body, there is an event with its bytes,
// and encoding/json agrees on what was read from it.
func FuzzConstructEvent(f *testing.F) {
	f.Add([]byte(paymentBody), "evt_a1b2c3d4")
	f.Add([]byte(`{"type":"a","timestamp":"2026-05-24T10:02:14Z","data":[1,"]"]}`), "evt_1")
	f.Add([]byte(`{"id":"\"\\","id":1,"data":"\\\""}`), "x")
	f.Add([]byte(`{"type":"a","created":1779616934}`), "x")
	f.Add([]byte("{"), "x")
	f.Add([]byte("\ufeff"+paymentBody), "x")
	f.Add([]byte(`{"type":"\ud800","data":1}`), "x")
	v := newVerifier(f, nil)
	f.Fuzz(func(t *testing.T, body []byte, id string) {
		h := sign(t, signing.Standard, id, string(body))
		e, err := v.ConstructEvent(body, h)
		if !signing.ValidID(id) {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, id, e.ID)
		require.Equal(t, string(body), string(e.Body))
		require.True(t, e.CreatedAt.IsZero() || e.CreatedAt.Year() <= 9999 && e.CreatedAt.Location() == time.UTC, e.CreatedAt)
		if e.Type == "" {
			require.Nil(t, e.Data)
			return
		}
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &members))
		require.Equal(t, string(members["data"]), string(e.Data))
		require.Equal(t, members["data"] == nil, e.Data == nil)
		var typ string
		require.NoError(t, json.Unmarshal(members["type"], &typ))
		require.Equal(t, typ, e.Type)
	})
}
