package verifier_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

func encodeUTF16(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func compressed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// unreadable are bodies from which no type can be read, and a part of the reason.
var unreadable = map[string]struct{ body, reason string }{
	"empty":                            {"", "empty"},
	"white space":                      {" \n", "JSON object in UTF-8"},
	"byte order mark alone":            {"\ufeff", "empty"},
	"two byte order marks":             {"\ufeff\ufeff" + paymentBody, "JSON object in UTF-8"},
	"UTF-16 with a mark":               {encodeUTF16(binary.LittleEndian, "\ufeff"+paymentBody), "JSON object in UTF-8"},
	"UTF-16 without a mark":            {encodeUTF16(binary.BigEndian, paymentBody), "JSON object in UTF-8"},
	"padded with NUL":                  {paymentBody + "\x00\x00", "JSON object in UTF-8"},
	"gzip":                             {compressed(paymentBody), "JSON object in UTF-8"},
	"cut off":                          {paymentBody[:len(paymentBody)-1], "JSON object in UTF-8"},
	"an object on each line":           {paymentBody + "\n" + paymentBody, "JSON object in UTF-8"},
	"form":                             {"type=payment.succeeded&data=%7B%7D", "JSON object in UTF-8"},
	"form of one field":                {"payload=" + paymentBody, "JSON object in UTF-8"},
	"XML":                              {"<type>payment.succeeded</type>", "JSON object in UTF-8"},
	"JavaScript":                       {`{type:'payment.succeeded',data:{}}`, "JSON object in UTF-8"},
	"comma behind the last member":     {`{"type":"payment.succeeded","data":{},}`, "JSON object in UTF-8"},
	"deep":                             {`{"type":"payment.succeeded","data":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, "JSON object in UTF-8"},
	"array":                            {"[" + paymentBody + "]", "JSON object in UTF-8"},
	"string":                           {`"payment.succeeded"`, "JSON object in UTF-8"},
	"JSON in a string":                 {`"{\"type\":\"payment.succeeded\",\"data\":{}}"`, "JSON object in UTF-8"},
	"number":                           {"1700000000", "JSON object in UTF-8"},
	"null":                             {"null", "JSON object in UTF-8"},
	"empty object":                     {"{}", `"type"`},
	"no type":                          {`{"id":"evt_1","created_at":"2026-05-24T10:02:14Z","data":{}}`, `"type"`},
	"type in upper case":               {`{"Type":"payment.succeeded","data":{}}`, `"type"`},
	"type within":                      {`{"event":{"type":"payment.succeeded","data":{}}}`, `"type"`},
	"type is null":                     {`{"type":null,"data":{}}`, `"type"`},
	"type is a number":                 {`{"type":1,"data":{}}`, `"type"`},
	"type is a list":                   {`{"type":["payment.succeeded"],"data":{}}`, `"type"`},
	"empty type":                       {`{"type":"","data":{}}`, `"type"`},
	"type is not UTF-8":                {"{\"type\":\"payment.succeeded\xff\",\"data\":{}}", `"type"`},
	"type is half a surrogate pair":    {`{"type":"payment.succeeded\ud800","data":{}}`, `"type"`},
	"type twice":                       {`{"type":"payment.failed","type":"payment.succeeded","data":{}}`, "twice"},
	"type twice, the same":             {`{"type":"payment.succeeded","data":{},"type":"payment.succeeded"}`, "twice"},
	"type twice, once with an escape":  {`{"type":"payment.failed","t\u0079pe":"payment.succeeded","data":{}}`, "twice"},
	"data twice":                       {`{"type":"payment.succeeded","data":{},"data":{}}`, "twice"},
	"flat":                             {`{"type":"payment.succeeded","amount":5000}`, `"data"`},
	"flat, with a time that is no one": {`{"type":"payment.succeeded","created":"now"}`, `"data"`},
}

// A genuine event that cannot be read is an error, and no reason to remember it: who
// repairs the receiver or the sender gets it again.
func TestUnreadable(t *testing.T) {
	for name, c := range unreadable {
		t.Run(name, func(t *testing.T) {
			var heard []error
			v, err := verifier.New(testSecret, &verifier.Options{
				Dedupe: dedupe.NewMemory(nil),
				OnError: func(_ http.ResponseWriter, _ *http.Request, err error) {
					t.Errorf("the request was not refused: %v", err)
				},
			})
			require.NoError(t, err)
			handlers := func() *verifier.Mux {
				mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(_ context.Context, e verifier.Event, err error) {
					require.Equal(t, c.body, string(e.Body))
					heard = append(heard, err)
				}})
				verifier.On(mux, "payment.succeeded", func(context.Context, verifier.Event, order) error {
					t.Error("handled as a payment")
					return nil
				})
				mux.Handle("payment.*", func(context.Context, verifier.Event) error {
					t.Error("handled as of a payment")
					return nil
				})
				return mux
			}
			serve := func(mux *verifier.Mux) int {
				w := httptest.NewRecorder()
				r := verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Body: []byte(c.body)}, nil)
				v.Middleware(mux).ServeHTTP(w, r)
				require.NotContains(t, w.Body.String(), "type", "the cause is not for the sender")
				return w.Code
			}
			for range 2 {
				heard = nil
				require.Equal(t, http.StatusInternalServerError, serve(handlers()))
				require.Len(t, heard, 1)
				require.ErrorIs(t, heard[0], verifier.ErrUnreadable)
				require.ErrorContains(t, heard[0], c.reason)
				require.NotErrorIs(t, heard[0], verifier.ErrNoHandler)
			}

			// "*" is for whatever there is.
			heard = nil
			all, handled := handlers(), 0
			all.Handle("*", func(_ context.Context, e verifier.Event) error {
				require.Empty(t, e.Type)
				require.Nil(t, e.Data)
				handled++
				return nil
			})
			require.Equal(t, http.StatusOK, serve(all))
			require.Equal(t, http.StatusOK, serve(all))
			require.Equal(t, 1, handled)
			require.Empty(t, heard)
		})
	}
}

// RFC 8259, 8.1: a byte order mark may be skipped.
func TestByteOrderMark(t *testing.T) {
	body := "\ufeff" + paymentBody
	v, err := verifier.New(testSecret, nil)
	require.NoError(t, err)
	mux := verifier.NewMux(nil)
	var got order
	verifier.On(mux, "payment.succeeded", func(_ context.Context, e verifier.Event, o order) error {
		require.Equal(t, body, string(e.Body))
		require.JSONEq(t, `{"id":"pay_xyz789","amount":5000}`, string(e.Data))
		got = o
		return nil
	})
	w := httptest.NewRecorder()
	v.Middleware(mux).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{Body: []byte(body)}, nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, order{5000}, got)

	// A whole body that a handler gets decoded, and one that a queue kept as data.
	for _, e := range []verifier.Event{
		{Type: "payment.succeeded", Body: []byte("\ufeff{\"amount\":7}")},
		{Type: "payment.succeeded", Data: []byte("\ufeff{\"amount\":7}")},
	} {
		mux := verifier.NewMux(nil)
		verifier.On(mux, "payment.succeeded", func(_ context.Context, _ verifier.Event, o order) error {
			got = o
			return nil
		})
		got = order{}
		require.NoError(t, mux.Dispatch(t.Context(), e))
		require.Equal(t, order{7}, got)
	}
}

// What a queue has kept of an event tells the reason too.
func TestDispatchUnreadable(t *testing.T) {
	mux := verifier.NewMux(nil)
	mux.Handle("payment.succeeded", func(context.Context, verifier.Event) error { return nil })
	for reason, e := range map[string]verifier.Event{
		"empty":               {},
		"not one JSON object": {Data: []byte("payment"), Body: []byte("{}")},
		"type":                {Body: []byte(paymentBody)}, // whoever has lost the type
	} {
		err := mux.Dispatch(t.Context(), e)
		require.ErrorIs(t, err, verifier.ErrUnreadable)
		require.ErrorContains(t, err, reason)
	}
}

// Where a header names the type, an unreadable body is its handler's business.
func TestUnreadableWithTypeHeader(t *testing.T) {
	for name, c := range unreadable {
		if strings.HasPrefix(c.body, "payload=") {
			continue // which is a form
		}
		var heard error
		v, err := verifier.New(testSecret, &verifier.Options{Scheme: signing.GitHub, Dedupe: dedupe.NewMemory(nil)})
		require.NoError(t, err)
		mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(_ context.Context, _ verifier.Event, err error) { heard = err }})
		raw := 0
		mux.Handle("push", func(_ context.Context, e verifier.Event) error {
			require.Equal(t, c.body, string(e.Body))
			raw++
			return nil
		})
		type strict struct{ Ref, Type *int }
		verifier.On(mux, "issues", func(context.Context, verifier.Event, []strict) error { return nil })
		serve := func(eventType string) int {
			heard = nil
			w := httptest.NewRecorder()
			r := verifiertest.NewRequest(t, testSecret, verifier.Event{Type: eventType, Body: []byte(c.body)}, &verifiertest.Options{Scheme: signing.GitHub})
			if eventType == "" {
				r.Header.Del("X-GitHub-Event")
			}
			v.Middleware(mux).ServeHTTP(w, r)
			return w.Code
		}
		require.Equal(t, http.StatusOK, serve("push"), name)
		require.Equal(t, 1, raw, name)
		require.Equal(t, http.StatusOK, serve("star"), "nobody handles it")
		require.NoError(t, heard)
		if name != "null" { // which every type can be decoded from
			require.Equal(t, http.StatusInternalServerError, serve("issues"), name)
			require.ErrorIs(t, heard, verifier.ErrDecode, name)
		}
		require.Equal(t, http.StatusInternalServerError, serve(""), name)
		require.ErrorIs(t, heard, verifier.ErrUnreadable, name)
	}
}
