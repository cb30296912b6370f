package sender_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

func TestCustomHeaders(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example")
		last := func() http.Header {
			w.send(&w.Tenant, "push")
			all := shop.Requests()
			return all[len(all)-1].Header
		}
		ep, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://shop.example/", EventTypes: []string{"*"}, NoTestEvent: true,
			Headers: sender.Headers{"authorization": sender.Value("Bearer abc.def"), "X-Tenant": sender.Value("7")},
		})
		require.NoError(t, err)
		require.Equal(t, []string{"Authorization", "X-Tenant"}, ep.Headers)
		require.Len(t, ep.HeaderValues, 2)
		require.Nil(t, ep.HeaderValues[0].Sealed)
		got := last()
		require.Equal(t, []string{"Bearer abc.def"}, got["Authorization"])
		require.Equal(t, []string{"7"}, got["X-Tenant"])

		// An edit sets some, removes some and leaves the others alone.
		ep, err = w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Headers: sender.Headers{"X-TENANT": sender.Value(""), "X-Region": sender.Value("eu"), "X-Absent": sender.Value("")}})
		require.NoError(t, err)
		require.Equal(t, []string{"Authorization", "X-Region"}, ep.Headers)
		got = last()
		require.Equal(t, "Bearer abc.def", got.Get("Authorization"))
		require.Equal(t, "eu", got.Get("X-Region"))
		require.Empty(t, got.Get("X-Tenant"))

		// A new value under the same name.
		ep, err = w.EditEndpoint(sender.WithActor(t.Context(), "ann"), ep.ID, sender.EndpointEdit{Headers: sender.Headers{"Authorization": sender.Value("Bearer new")}, Description: ptr("x")})
		require.NoError(t, err)
		require.Equal(t, "Bearer new", last().Get("Authorization"))

		// Neither other edits, nor disabling, nor a new secret touch them.
		_, err = w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: ptr("https://shop.example/new")})
		require.NoError(t, err)
		_, err = w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		_, err = w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		_, secret, err := w.RotateSecret(t.Context(), ep.ID, &sender.Rotation{Overlap: -1})
		require.NoError(t, err)
		got = last()
		require.Equal(t, "Bearer new", got.Get("Authorization"))
		all := shop.Requests()
		require.Equal(t, []bool{true}, signedWith(t, all[len(all)-1], secret))

		history, err := w.EndpointHistory(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, store.Edited, actions(history)[3])
		require.Equal(t, []store.Action{store.Created, store.HeadersSet, store.HeadersSet}, actions(history)[:3])
		require.Equal(t, "ann", history[2].Actor)
		require.Equal(t, history[2].Old.Headers, history[2].New.Headers)
		require.NotContains(t, fmt.Sprintf("%+v", history), "Bearer")

		require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
		gone := w.current(&w.Tenant, ep)
		require.Empty(t, gone.HeaderValues)
		require.Equal(t, []string{"Authorization", "X-Region"}, gone.Headers, "the record stays readable")
	})
}

func actions(history []store.Change) (list []store.Action) {
	for _, c := range history {
		list = append(list, c.Action)
	}
	return list
}

func TestAcceptCanBeReplaced(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example")
		for i, c := range []struct {
			headers sender.Headers
			accept  string
			told    string // by RequestHeader
		}{
			{nil, "*/*", "*/*"},
			{sender.Headers{"accept": sender.Value("application/json"), "authorization": sender.Value("Bearer t0ps3cret")}, "application/json", "***"},
		} {
			ep, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
				URL: fmt.Sprintf("https://shop.example/%d", i), EventTypes: []string{fmt.Sprintf("push%d", i)}, NoTestEvent: true, Headers: c.headers,
			})
			require.NoError(t, err)
			id := w.send(&w.Tenant, fmt.Sprintf("push%d", i))
			all := shop.Requests()
			require.Equal(t, []string{c.accept}, all[len(all)-1].Header["Accept"])
			require.Equal(t, []string{"identity"}, all[len(all)-1].Header["Accept-Encoding"])
			ev, err := w.Event(t.Context(), id)
			require.NoError(t, err)
			h := w.RequestHeader(ep, ev, store.Attempt{N: 1, URL: ep.URL, StartedAt: time.Now()})
			require.Equal(t, c.told, h.Get("Accept"))
			require.Equal(t, "identity", h.Get("Accept-Encoding"))
			for name := range all[len(all)-1].Header {
				if name != "Content-Length" {
					require.Contains(t, h, name)
				}
			}
		}
	})
}

func TestHeadersRefused(t *testing.T) {
	many := sender.Headers{}
	for i := range 17 {
		many[fmt.Sprintf("X-%d", i)] = sender.Value("1")
	}
	const hidden = "hunter2-hunter2"
	tests := map[string]struct {
		headers sender.Headers
		says    string
	}{
		"too many":         {many, "17, more than 16"},
		"name twice":       {sender.Headers{"X-A": sender.Value(hidden), "x-a": sender.Value(hidden)}, "X-A is there twice"},
		"empty name":       {sender.Headers{"": sender.Value(hidden)}, "a name is not"},
		"name with colon":  {sender.Headers{"X-A: " + hidden: sender.Value("x")}, "a name is not"},
		"name not ASCII":   {sender.Headers{"X-Ä": sender.Value(hidden)}, "a name is not"},
		"name too long":    {sender.Headers{strings.Repeat("x", 101): sender.Value(hidden)}, "100 bytes"},
		"value too long":   {sender.Headers{"X-A": sender.Value(strings.Repeat(hidden, 300))}, "4500 bytes, more than 4096"},
		"line in value":    {sender.Headers{"X-A": sender.Value(hidden + "\r\nX-B: 1")}, "not printable"},
		"NUL in value":     {sender.Headers{"X-A": sender.Value(hidden + "\x00")}, "not printable"},
		"tab in value":     {sender.Headers{"X-A": sender.Value(hidden + "\t1")}, "not printable"},
		"value not ASCII":  {sender.Headers{"X-A": sender.Value(hidden + "é")}, "not printable"},
		"space around":     {sender.Headers{"X-A": sender.Value(hidden + " ")}, "space"},
		"only a space":     {sender.Headers{"X-A": sender.Value(" ")}, "space"},
		"compression":      {sender.Headers{"accept-encoding": sender.Value("gzip")}, "compressed answers"},
		"signature":        {sender.Headers{"webhook-signature": sender.Value(hidden)}, "Webhook-Signature can't be set: it carries a signature"},
		"other scheme":     {sender.Headers{"X-Xtopay-Signature": sender.Value(hidden)}, "carries a signature"},
		"svix":             {sender.Headers{"svix-id": sender.Value(hidden)}, "carries a signature"},
		"forwarded":        {sender.Headers{"X-Forwarded-For": sender.Value(hidden)}, "comes from"},
		"method override":  {sender.Headers{"X-HTTP-Method-Override": sender.Value(hidden)}, "POST"},
		"proxy":            {sender.Headers{"Proxy-Authorization": sender.Value(hidden)}, "connection"},
		"user agent":       {sender.Headers{"user-agent": sender.Value(hidden)}, "HTTPOptions.UserAgent"},
		"idempotency":      {sender.Headers{"Idempotency-Key": sender.Value(hidden)}, "repeat"},
		"idempotency X":    {sender.Headers{"x-idempotency-key": sender.Value(hidden)}, "repeat"},
		"trace":            {sender.Headers{"traceparent": sender.Value(hidden)}, "tracing"},
		"content type":     {sender.Headers{"Content-Type": sender.Value(hidden)}, "event"},
		"content encoding": {sender.Headers{"Content-Encoding": sender.Value(hidden)}, "event"},
	}
	for _, name := range []string{
		"Host", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Connection", "Keep-Alive", "Upgrade", "Expect", "HTTP2-Settings", "Proxy-Connection",
	} {
		tests[name] = struct {
			headers sender.Headers
			says    string
		}{sender.Headers{name: sender.Value(hidden)}, "connection"}
	}
	for says, names := range map[string][]string{
		"where a request comes from": {
			"True-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "X-Real-IP", "X-Client-IP", "Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP",
			"X_Forwarded_For", "X.Forwarded.For", "x_forwarded-proto", "X-Forwarded", "Forwarded_For", "X_REAL_IP", "True_Client_IP", "X-Appengine-User-IP", "Via",
		},
		"before a proxy changed it":   {"X-Original-URL", "X-Rewrite-URL", "X_Original_URL", "X-Original-Host", "X-Original-Forwarded-For", "X-Host", "X-HTTP-Host-Override"},
		"who a request comes from":    {"X-Remote-User", "Remote_User", "X-SSL-Client-Cert", "X-MS-CLIENT-PRINCIPAL-NAME"},
		"another request":             {"X_HTTP_Method_Override", "X-HTTP_Method", "X.Method.Override"},
		"carries a signature":         {"Webhook_Signature", "webhook_id", "Svix_Id", "X_Xtopay_Signature", "X-Xtopay_Signature"},
		"belongs to the connection":   {"Content_Length", "Transfer_Encoding", "Proxy_Authorization"},
		"describes the body":          {"Content_Type", "Content.Encoding"},
		"Go's client repeat requests": {"Idempotency_Key"},
		"tracing":                     {"traceparent"},
		"HTTPOptions.UserAgent":       {"User_Agent"},
	} {
		for _, name := range names {
			tests[name] = struct {
				headers sender.Headers
				says    string
			}{sender.Headers{name: sender.Value(hidden)}, says}
		}
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newQuiet(t, &sender.Options{Schemes: []signing.Scheme{signing.Standard, signing.Timestamped("X-Xtopay-Signature")}})
			spec := sender.EndpointSpec{URL: "https://shop.example", EventTypes: []string{"*"}, Headers: tc.headers, Schemes: []string{"standard"}}
			_, _, err := s.CreateEndpoint(t.Context(), spec)
			require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
			require.ErrorContains(t, err, tc.says)
			require.NotContains(t, err.Error(), "hunter2")
			requireEmpty(t, &s.Tenant)

			spec.Headers = sender.Headers{"X-Kept": sender.Value("1")}
			ep, _, err := s.CreateEndpoint(t.Context(), spec)
			require.NoError(t, err)
			_, err = s.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Headers: tc.headers})
			require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
			require.NotContains(t, err.Error(), "hunter2")
			now, err := s.Endpoint(t.Context(), ep.ID)
			require.NoError(t, err)
			require.Equal(t, ep, now)
		})
	}
}

// A header that was fine until a scheme came that uses it stops its endpoint, says
// so and charges nothing; taken away it all goes on.
func TestHeaderOfANewScheme(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example")
		ep, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://shop.example/", EventTypes: []string{"*"}, NoTestEvent: true, Headers: sender.Headers{"X-Sig": sender.Value("letmein")},
		})
		require.NoError(t, err)
		require.NoError(t, w.Stop(t.Context()))
		later := w.another(sender.Options{Schemes: []signing.Scheme{signing.Standard, signing.Timestamped("X-Sig")}})
		require.NoError(t, later.Start(t.Context()))
		id := w.send(&later.Tenant, "push")
		w.pass(10 * time.Minute)
		require.Zero(t, shop.Count())
		d := w.delivery(&later.Tenant, id, ep)
		require.Equal(t, store.Pending, d.State)
		require.Zero(t, d.Attempts)
		require.Contains(t, w.log.String(), "header X-Sig is now one of a signature scheme")
		require.NotContains(t, w.log.String(), "letmein")

		_, err = later.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Description: ptr("x")})
		require.ErrorContains(t, err, "X-Sig can't be set")
		_, err = later.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Headers: sender.Headers{"X-Sig": sender.Value("")}})
		require.NoError(t, err)
		w.pass(time.Minute)
		w.pass(time.Minute)
		require.Equal(t, 1, shop.Count())
	})
}

func TestEndpointTimeout(t *testing.T) {
	o := sender.Options{Lease: 40 * time.Second, Schedule: retry.None}
	inBubble(t, o, func(t *testing.T, w *world) {
		for name, tc := range map[string]struct {
			timeout, delay time.Duration
			state          store.State
		}{
			"default":  {0, 11 * time.Second, store.Exhausted},
			"longer":   {30 * time.Second, 29 * time.Second, store.Delivered},
			"too late": {30 * time.Second, 31 * time.Second, store.Exhausted},
			"shorter":  {2 * time.Second, 3 * time.Second, store.Exhausted},
		} {
			host := strings.ReplaceAll(name, " ", "-") + ".example"
			w.receiver(host, sendertest.Answer{Delay: tc.delay})
			ep, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
				URL: "https://" + host, EventTypes: []string{"*"}, NoTestEvent: true, Timeout: tc.timeout,
			})
			require.NoError(t, err)
			require.Equal(t, tc.timeout, ep.Timeout)
			id := w.send(&w.Tenant, "push")
			w.pass(35 * time.Second)
			require.Equal(t, tc.state, w.delivery(&w.Tenant, id, ep).State, name)
			a := w.attempts(&w.Tenant, id, ep)
			require.Len(t, a, 1)
			if limit := tc.timeout; tc.state == store.Exhausted && limit > 0 {
				require.Equal(t, limit, a[0].Took, name)
				require.Equal(t, "no answer within "+limit.String(), a[0].Error)
			}
			require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
		}
	})
}

func TestTimeoutsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		lease, timeout time.Duration
		says           string
	}{
		"negative":           {0, -1, "from 1s to 30s"},
		"too short":          {0, time.Second - 1, "from 1s to 30s"},
		"too long":           {time.Minute, 31 * time.Second, "from 1s to 30s"},
		"longer than leases": {0, 15 * time.Second, "a Lease of 16s or more"},
		"as long as leases":  {30 * time.Second, 30 * time.Second, "a Lease of 31s or more"},
		"fits":               {0, 14 * time.Second, ""},
		"the longest":        {31 * time.Second, 30 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newQuiet(t, &sender.Options{Lease: tc.lease})
			spec := sender.EndpointSpec{URL: "https://a.example", EventTypes: []string{"*"}, Timeout: tc.timeout}
			_, _, err := s.CreateEndpoint(t.Context(), spec)
			ep, _, otherErr := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://b.example", EventTypes: []string{"*"}})
			require.NoError(t, otherErr)
			edited, editErr := s.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Timeout: &tc.timeout})
			if tc.says == "" {
				require.NoError(t, err)
				require.NoError(t, editErr)
				require.Equal(t, tc.timeout, edited.Timeout)
				back, err := s.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Timeout: ptr(time.Duration(0))})
				require.NoError(t, err)
				require.Zero(t, back.Timeout)
				return
			}
			for _, err := range []error{err, editErr} {
				require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
				require.ErrorContains(t, err, tc.says)
			}
		})
	}
}

// A process whose leases are shorter than another's leaves endpoints with longer
// timeouts to that one.
func TestTimeoutOfAnotherProcess(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example", sendertest.Answer{Delay: 20 * time.Second})
		other := w.another(sender.Options{Lease: time.Minute})
		ep, _, err := other.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://shop.example", EventTypes: []string{"*"}, NoTestEvent: true, Timeout: 30 * time.Second,
		})
		require.NoError(t, err)
		id := w.send(&w.Tenant, "push")
		w.pass(10 * time.Minute)
		require.Zero(t, shop.Count())
		require.Zero(t, w.delivery(&w.Tenant, id, ep).Attempts)
		require.Contains(t, w.log.String(), "Options.Lease, 15s, is too short")
		require.NoError(t, other.Start(t.Context()))
		w.pass(2 * time.Minute)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
		require.Equal(t, 1, shop.Count())
	})
}

// Where fmt asks no method: unexported fields, pointers under verbs that don't suit.
func TestHeaderValuesNeverPrint(t *testing.T) {
	h := sender.Headers{"Authorization": sender.Value("Bearer hunter2"), "X-A": sender.Value("hunter2")}
	spec := &sender.EndpointSpec{URL: "https://shop.example", Headers: h}
	value := sender.Value("hunter2")
	var out bytes.Buffer
	for _, v := range []any{
		value, &value,
		[]sender.HeaderValue{value},
		struct{ h sender.Headers }{h},
		&struct{ h sender.Headers }{h},
		struct{ p *sender.EndpointSpec }{spec},
		struct{ v sender.HeaderValue }{value},
		struct{ a any }{h},
		struct {
			m map[string]sender.EndpointSpec
		}{map[string]sender.EndpointSpec{"a": *spec}},
		[]*sender.EndpointSpec{spec},
		map[string]*sender.EndpointSpec{"a": spec},
		struct{ P *sender.EndpointSpec }{spec},
		[]*sender.Headers{&h},
		struct{ p **sender.EndpointSpec }{&spec},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%p", "%c", "%e"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(handler).Info("headers", "v", v)
		}
		_ = gob.NewEncoder(&out).Encode(v)
	}
	require.NotContains(t, out.String(), "hunter2")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "hunter2"))
	require.NotContains(t, out.String(), fmt.Sprintf("%d", []byte("hunter2")))
	require.Equal(t, "***", fmt.Sprint(value))
	require.Empty(t, fmt.Sprint(sender.HeaderValue{}))

	require.Error(t, json.Unmarshal([]byte(`"***"`), &value), "what MarshalText writes")
	require.Equal(t, "hunter2", value.Reveal())
}

func TestHeadersNeverPrint(t *testing.T) {
	h := sender.Headers{"Authorization": sender.Value("Bearer hunter2"), "X-A": sender.Value("hunter2"), "hunter2 hunter2": sender.Value("x")}
	spec := sender.EndpointSpec{URL: "https://shop.example", Headers: h}
	edit := sender.EndpointEdit{Headers: h}
	var out bytes.Buffer
	for _, v := range []any{h, &h, spec, &spec, edit, []sender.EndpointSpec{spec}, map[string]sender.Headers{"a": h}, struct{ H any }{h}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(handler).Info("headers", "v", v)
		}
		text, err := json.Marshal(v)
		require.NoError(t, err)
		out.Write(text)
	}
	require.NotContains(t, out.String(), "hunter2")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "hunter2"))
	require.Equal(t, "[Authorization:*** X-A:*** ***:***]", fmt.Sprint(h))

	var read sender.EndpointSpec // as an API of the application's would
	require.NoError(t, json.Unmarshal([]byte(`{"Headers":{"X-A":"1"}}`), &read))
	require.Equal(t, sender.Headers{"X-A": sender.Value("1")}, read.Headers)
}
