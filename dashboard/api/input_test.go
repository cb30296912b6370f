package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
)

// What can't be read, or is not acceptable, is refused with what would be right.
func TestBodies(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		w.endpoint("https://taken.example.com/hooks", "*")
		const right = `"url": "https://one.example.com", "event_types": ["*"]`
		for name, c := range map[string]struct {
			body   string
			kind   kind
			faults map[string]string // by pointer: how it begins
			detail string
		}{
			"no JSON":           {`{"url": `, malformed, nil, "unexpected end of JSON input"},
			"more than JSON":    {`{} {}`, malformed, nil, "after top-level value"},
			"a list":            {`[]`, malformed, nil, "another kind of value"},
			"null":              {`null`, malformed, nil, "another kind of value"},
			"no UTF-8":          {"{\"url\": \"\xff\"}", malformed, nil, "not UTF-8"},
			"too deep":          {strings.Repeat("[", 20000), malformed, nil, "max depth"},
			"too large":         {`{"description": "` + strings.Repeat("x", maxBody) + `"}`, tooLarge, nil, "1048576"},
			"nothing":           {`{}`, invalid, map[string]string{"#/url": "is missing; it is a string", "#/event_types": "is missing; it is a list of strings"}, "url is missing"},
			"unknown":           {`{` + right + `, "URL": "x"}`, invalid, map[string]string{"#/URL": "is not a field here; the fields are description, "}, ""},
			"odd name":          {`{` + right + `, "a/b~c d": 1}`, invalid, map[string]string{"#/a~1b~0c%20d": "is not a field here"}, ""},
			"twice":             {`{` + right + `, "url": "https://two.example.com"}`, invalid, map[string]string{"#/url": "is there twice"}, ""},
			"null field":        {`{` + right + `, "description": null}`, invalid, map[string]string{"#/description": "is null"}, ""},
			"wrong types":       {`{"url": 1, "event_types": "*", "disabled": "no", "description": []}`, invalid, map[string]string{"#/url": "is not a string", "#/event_types": "is not a list of strings", "#/disabled": "is not true or false", "#/description": "is not a string"}, ""},
			"NUL":               {`{` + right + `, "description": "\u0000"}`, invalid, map[string]string{"#/description": "contains a NUL"}, ""},
			"relative URL":      {`{"url": "example.com", "event_types": ["*"]}`, invalid, map[string]string{"#/url": "is not absolute; begin with https://"}, "url is not absolute"},
			"taken URL":         {`{"url": "https://TAKEN.example.com:443/hooks", "event_types": ["*"]}`, duplicateURL, map[string]string{"#/url": "is that of another endpoint"}, ""},
			"no selection":      {`{"url": "https://one.example.com", "event_types": []}`, invalid, map[string]string{"#/event_types": ""}, ""},
			"unknown type":      {`{"url": "https://one.example.com", "event_types": ["payout.gone"]}`, invalid, map[string]string{"#/event_types": ""}, "payout.gone"},
			"long description":  {`{` + right + `, "description": "` + strings.Repeat("x", 1001) + `"}`, invalid, map[string]string{"#/description": "has 1001 bytes, more than 1000"}, ""},
			"reason of nothing": {`{` + right + `, "reason": "x"}`, invalid, map[string]string{"#/reason": "says why"}, ""},
		} {
			a := w.do("POST", account+"/endpoints", c.body)
			p := a.problem(w)
			require.Equal(w, problemTypes+c.kind.name, p.Type, "%s: %s", name, a.Body)
			require.Contains(w, p.Detail, c.detail, name)
			got := map[string]string{}
			for _, f := range p.Errors {
				got[f.Pointer] = f.Detail
			}
			require.ElementsMatch(w, slices.Collect(maps.Keys(c.faults)), slices.Collect(maps.Keys(got)), "%s: %s", name, a.Body)
			for pointer, begins := range c.faults {
				require.True(w, strings.HasPrefix(got[pointer], begins), "%s: %s", name, got[pointer])
				require.NotEmpty(w, got[pointer])
			}
		}
		require.Len(w, data(w.must("GET", account+"/endpoints", "")), 1)
	})
}

func TestOtherBodies(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		own := w.things(acmeTest)
		for name, c := range map[string]struct {
			path, body, pointer, detail string
		}{
			"event type":    {"/endpoints/" + own.endpoint + "/test", `{"event_type": "payout.gone"}`, "#/event_type", "payout.gone"},
			"reason":        {"/endpoints/" + own.endpoint + "/disable", `{"reason": "` + strings.Repeat("x", 1001) + `"}`, "#/reason", "more than 1000"},
			"missed of all": {"/recoveries", `{"missed": true}`, "#/missed", "needs endpoint_id"},
			"rate":          {"/recoveries", `{"rate": 0}`, "#/rate", "not above 0"},
			"half a rate":   {"/recoveries", `{"rate": 1.5}`, "#/rate", "is not a whole number"},
			"time":          {"/recoveries/dry-run", `{"from": "yesterday"}`, "#/from", "2026-05-24T10:02:14Z"},
			"no fields":     {"/endpoints/" + own.endpoint + "/enable", `{"a": 1}`, "#/a", "there are none"},
		} {
			p := w.do("POST", account+c.path, c.body).problem(w)
			require.Equal(w, problemTypes+"invalid", p.Type, name)
			require.Len(w, p.Errors, 1, name)
			require.Equal(w, c.pointer, p.Errors[0].Pointer, name)
			require.Contains(w, p.Errors[0].Detail, c.detail, name)
		}
	})
}

func TestContentTypes(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://one.example.com", "*")
		path := account + "/endpoints/" + ep.ID + "/disable"
		for contentType, ok := range map[string]bool{
			"application/json":                    true,
			"Application/JSON; charset=UTF-8":     true,
			"application/json; charset=latin1":    false,
			"application/merge-patch+json":        false,
			"application/x-www-form-urlencoded":   false,
			"text/plain":                          false,
			"multipart/form-data; boundary=x":     false,
			"application/json; charset=utf-8; ;;": false,
			"":                                    false,
		} {
			r := request("POST", path, `{"reason": "x"}`)
			r.Header.Set("Content-Type", contentType)
			a := w.serve(r)
			if ok {
				require.Equal(w, http.StatusOK, a.Status, contentType)
				continue
			}
			require.Equal(w, problemTypes+"wrong-content-type", a.problem(w).Type, contentType)
			require.Equal(w, "application/json", a.Header.Get("Accept-Post"))
		}
		for contentType, status := range map[string]int{"": http.StatusOK, "application/json": http.StatusOK, "text/plain": http.StatusUnsupportedMediaType} {
			r := request("POST", path, "")
			if contentType != "" {
				r.Header.Set("Content-Type", contentType)
			}
			require.Equal(w, status, w.serve(r).Status, "%s without a body", contentType)
		}
	})
}

func TestQueries(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		for query, want := range map[string]string{
			"endpoints?state=pending":                            "state",
			"endpoints?limit=0":                                  "limit",
			"endpoints?limit=101":                                "limit",
			"endpoints?limit=x":                                  "limit",
			"endpoints?limit=1&limit=2":                          "limit",
			"endpoints?q=x":                                      "q",
			"endpoints?search=%00":                               "search",
			"endpoints?search=%ff":                               "search",
			"endpoints?cursor=x":                                 "cursor",
			"endpoints?cursor=" + cursorOf("endpoint", "x"):      "cursor",
			"endpoints?cursor=" + cursorOf("endpoint", ""):       "cursor",
			"endpoints?cursor=" + cursorOf("endpoint", "0"):      "cursor",
			"endpoints?cursor=" + cursorOf("event", "1"):         "cursor",
			"events?cursor=" + cursorOf("event", "-1"):           "cursor",
			"events?from=2026":                                   "from",
			"events?to=2026-05-24T10:02:14":                      "to",
			"events?event_id=x":                                  "event_id",
			"deliveries?state=enabled":                           "state",
			"deliveries?endpoint=x":                              "endpoint",
			"deliveries?cursor=" + cursorOf("delivery", "dlv_1"): "cursor",
			"endpoints/" + own.endpoint + "/activity?newest=201": "newest",
			"endpoints/" + own.endpoint + "?limit=1":             "limit",
			"events/" + own.event + "/explain":                   "endpoint_id",
		} {
			p := w.do("GET", account+"/"+query, "").problem(w)
			require.Equal(w, problemTypes+"bad-query", p.Type, query)
			require.Len(w, p.Errors, 1, query)
			require.Equal(w, want, p.Errors[0].Parameter, query)
			require.Contains(w, p.Detail, want+" is ", query)
		}
		p := w.do("GET", account+"/endpoints?b=1&a=1", "").problem(w)
		require.Equal(w, []fault{
			{Parameter: "a", Detail: "is not a parameter here; they are search, state, limit, cursor"},
			{Parameter: "b", Detail: "is not a parameter here; they are search, state, limit, cursor"},
		}, p.Errors)
		require.Equal(w, problemTypes+"bad-query", w.do("GET", account+"/endpoints?a=%zz", "").problem(w).Type)
		require.Equal(w, problemTypes+"bad-query", w.do("POST", account+"/recoveries?type=x", "{}").problem(w).Type, "filters of a recovery are in its body")
		w.must("GET", account+"/endpoints?search=&limit=&cursor=&state=", "")
	})
}

func TestPathsAndMethods(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		for _, path := range []string{
			"/", "//", "/nothing", "/accounts/", "/accounts/test~acme", "/accounts//endpoints", "/accounts/./accounts", "/accounts/../accounts",
			account + "/endpoints/", account + "/endpoints/" + own.endpoint + "/", account + "/endpoints/..", account + "/endpoints/%2e%2e",
			account + "/endpoints/%ff", account + "/endpoints/%00", account + "/endpoints/ep_unknown", account + "/events/x", account + "/deliveries/x",
			account + "/deliveries/dlv_1_1_99", account + "/recoveries/rcv_x", "/accounts/test~nobody/endpoints", "/accounts/Test~acme/endpoints",
		} {
			a := w.do("GET", path, "")
			require.Equal(w, problemTypes+"not-found", a.problem(w).Type, "%s: %s", path, a.Body)
		}
		r := request("GET", "/accounts", "")
		r.URL = &url.URL{} // mounted without a slash at the end
		require.Equal(w, http.StatusNotFound, serve(w.api, r).Status)

		for path, allow := range map[string]string{
			account + "/endpoints":                       "GET, POST",
			account + "/endpoints/" + own.endpoint:       "DELETE, GET, PATCH",
			account + "/deliveries/" + own.delivery:      "GET",
			account + "/recoveries/dry-run":              "POST",
			account + "/events/" + own.event + "/replay": "POST",
			"/accounts": "GET",
		} {
			for _, method := range []string{"PUT", "OPTIONS", "TRACE", "get"} {
				a := w.do(method, path, "")
				require.Equal(w, http.StatusMethodNotAllowed, a.problem(w).Status, "%s %s", method, path)
				require.Equal(w, allow, a.Header.Get("Allow"))
			}
		}
		// A server leaves out the body of the answer to HEAD.
		server := httptest.NewRecorder()
		w.api.ServeHTTP(server, request("HEAD", "/accounts", ""))
		require.Equal(w, http.StatusOK, server.Code)
	})
}

// Every answer tells browsers what not to do with it.
func TestHeaders(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		for _, op := range operations {
			a := w.do(op.method, own.pathOf(op.path, "test~acme"), bodiesWith(op, own.endpoint))
			require.Equal(w, "no-store", a.Header.Get("Cache-Control"))
			require.Equal(w, "nosniff", a.Header.Get("X-Content-Type-Options"))
			require.Contains(w, a.Header.Get("Content-Security-Policy"), "default-src 'none'")
		}
	})
}

func FuzzEachField(f *testing.F) {
	for _, s := range []string{`{}`, ` {"a": 1, "b": [null, {"c": "}"}]} `, `{"a": 1, "a": 2}`, `[1]`, `{"a"`, `{"\u0061": 1}`, `nul`, `{} x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := map[string]json.RawMessage{}
		err := eachField(b, func(name string, value json.RawMessage) bool {
			got[name] = slices.Clone(value)
			return true
		})
		want := map[string]json.RawMessage{}
		wrong := json.Unmarshal(b, &want)
		if len(b) > 0 && (wrong != nil || want == nil) {
			require.Error(t, err)
			require.Empty(t, got)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
