package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

func TestNew(t *testing.T) {
	hooks, err := sender.New(memory.New(), nil)
	require.NoError(t, err)
	allow := func(*http.Request) (dashboard.Access, error) { return dashboard.Access{}, nil }
	_, err = New(hooks, nil, nil)
	require.ErrorIs(t, err, ErrNoAuthorize)
	_, err = New(nil, allow, nil)
	require.ErrorIs(t, err, ErrNoSender)
	_, err = New(hooks, allow, &Options{TrustedOrigins: []string{"example.com"}})
	require.ErrorContains(t, err, "TrustedOrigins")
	a, err := New(hooks, allow, nil)
	require.NoError(t, err)
	a.Close()
	a.Close()
}

func TestDenied(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		wrong := errors.New("session expired")
		for name, c := range map[string]struct {
			access dashboard.Access
			err    error
		}{
			"error":       {w.access, wrong},
			"no accounts": {dashboard.Access{Actor: "ann"}, nil},
		} {
			var told error
			seen := false
			authorize := func(*http.Request) (dashboard.Access, error) { return c.access, c.err }
			plain, err := New(w.hooks, authorize, nil)
			require.NoError(w, err)
			custom, err := New(w.hooks, authorize, &Options{Denied: func(w http.ResponseWriter, _ *http.Request, err error) {
				told, seen = err, true
				w.WriteHeader(http.StatusUnauthorized)
			}})
			require.NoError(w, err)
			before := w.state(acmeTest)
			paths := []operation{{method: "GET", path: "/nothing"}, {method: "PUT", path: "/accounts"}}
			for _, op := range append(paths, operations...) {
				path := own.pathOf(op.path, "test~acme")
				a := serve(plain, request(op.method, path, `{}`))
				p := a.problem(w)
				require.Equal(w, http.StatusForbidden, p.Status, name)
				require.Equal(w, problemTypes+"denied", p.Type)
				require.NotContains(w, a.Body, wrong.Error())
				told, seen = nil, false
				require.Equal(w, http.StatusUnauthorized, serve(custom, request(op.method, path, `{}`)).Status)
				require.True(w, seen)
				require.Equal(w, c.err, told)
			}
			require.Equal(w, before, w.state(acmeTest))
		}
	})
}

// bodiesWith are bodies that name an id wherever one can be named.
func bodiesWith(op operation, id string) string {
	switch {
	case strings.HasSuffix(op.path, "/replay"):
		return `{"endpoint_id": "` + id + `"}`
	case strings.HasSuffix(op.path, "/recoveries"), strings.HasSuffix(op.path, "/dry-run"):
		return `{"endpoint_id": "` + id + `", "missed": true}`
	case op.method == http.MethodPost && strings.HasSuffix(op.path, "/endpoints"):
		return `{"url": "https://new.example.com", "event_types": ["*"], "test_event": false}`
	case op.method == http.MethodGet:
		return ""
	}
	return "{}"
}

// Every operation, asked for what is another tenant's or the other mode's, must
// answer as if it did not exist, and do nothing.
func TestForeignThings(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		w.access.Accounts = w.access.Accounts[1:] // test mode alone
		for _, scope := range []store.Scope{acmeLive, {Tenant: "globex", Mode: store.Test}, {Mode: store.Test}, {Tenant: "ACME", Mode: store.Test}, {Tenant: "acme~", Mode: store.Test}} {
			theirs := w.things(scope)
			mark := strings.ReplaceAll(desk.Segment(scope), "~", ".")
			before, asked := w.state(scope), 0
			ask := func(op operation, account, id, other string, missing bool) {
				w.Helper()
				asked++
				path := strings.NewReplacer("{account}", account, "{id}", id, "{secret}", theirs.secret).Replace(op.path)
				query := url.Values{}
				for _, name := range op.query {
					switch name {
					case "endpoint_id", "event_id":
						query.Set(name, other)
					case "search", "ref":
						query.Set(name, "ref."+mark)
					case "cursor":
						if strings.HasSuffix(path, "/deliveries") {
							query.Set(name, cursorOf("delivery", theirs.delivery))
						}
					}
				}
				a := w.do(op.method, path+"?"+query.Encode(), bodiesWith(op, other))
				if missing {
					require.Equal(w, http.StatusNotFound, a.Status, "%s %s %s: %s", op.method, path, other, a.Body)
				}
				for _, what := range []string{mark + ".example.com", "secret of " + mark, "only for " + mark, "ref." + mark} {
					require.NotContains(w, a.Body, what, "%s %s", op.method, path)
				}
			}
			ids := []string{theirs.endpoint, theirs.disabled, theirs.event, theirs.delivery, theirs.recovery}
			for _, op := range operations {
				if !strings.Contains(op.path, "{account}") {
					ask(op, "", "", theirs.endpoint, false)
					continue
				}
				for _, id := range append(ids, own.endpoint, own.event, own.delivery, own.recovery) {
					ask(op, desk.Segment(scope), id, own.endpoint, true)
				}
				// Under the own account, with their ids in path, query and body.
				creates := op.method == http.MethodPost && strings.HasSuffix(op.path, "/endpoints")
				for _, id := range ids {
					for _, other := range append(ids, own.endpoint) {
						if !creates && (other != own.endpoint || strings.Contains(op.path, "{id}")) {
							ask(op, "test~acme", id, other, strings.Contains(op.path, "{id}") || op.method == http.MethodPost)
						}
					}
				}
				// Their endpoint with an event of one's own.
				if strings.Contains(op.path, "/replay") || strings.Contains(op.path, "/events/{id}/explain") {
					ask(op, "test~acme", own.event, theirs.endpoint, true)
				}
			}
			require.Greater(w, asked, 500)
			require.Equal(w, before, w.state(scope), "nothing of theirs has changed")
		}
	})
}

// Who lacks a right can do all that needs others, or none, and nothing else.
func TestRights(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		before := w.state(acmeTest)
		refused := 0
		for _, op := range operations {
			needs := w.doc.Paths[op.path].operation(op.method).Right
			for has := range dashboard.AllRights + 1 {
				allowed := needs == ""
				for _, r := range rightNames {
					allowed = allowed || r.name == needs && has&r.right != 0
				}
				if allowed && needs != "" {
					continue // TestEveryOperation does it
				}
				w.access.Accounts[1].Rights = has
				path := own.pathOf(op.path, "test~acme")
				if strings.HasSuffix(op.path, "/events/{id}/explain") {
					path += "?endpoint_id=" + own.endpoint
				}
				a := w.do(op.method, path, bodiesWith(op, own.endpoint))
				if allowed {
					require.Less(w, a.Status, 300, "%s %s: %s", op.method, path, a.Body)
					continue
				}
				refused++
				require.Equal(w, problemTypes+"forbidden", a.problem(w).Type, "%s %s with %b: %s", op.method, path, has, a.Body)
			}
		}
		require.Greater(w, refused, 30)
		require.Equal(w, before, w.state(acmeTest))
	})
}

// A secret is in the answer to the POST that made it, which nobody keeps, and in no
// other.
func TestSecretsAreToldOnce(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		imported := signing.NewSecret()
		_, _, err := w.acme.CreateEndpoint(w.Context(), sender.EndpointSpec{URL: "https://imported.example.com", EventTypes: []string{"*"}, Secret: imported})
		require.NoError(w, err)
		a := w.do("POST", account+"/endpoints", `{"url": "https://new.example.com", "event_types": ["*"]}`)
		require.Equal(w, http.StatusCreated, a.Status)
		require.Equal(w, "no-store", a.Header.Get("Cache-Control"))
		require.Equal(w, 1, strings.Count(a.Body, "whsec_"))
		created := decode(w, a)
		_, err = signing.ParseSecret(created["secret"].(string))
		require.NoError(w, err)
		own.endpoint = created["endpoint"].(map[string]any)["id"].(string)
		for _, op := range operations {
			if op.method == http.MethodGet {
				a := w.do("GET", own.pathOf(op.path, "test~acme"), "")
				require.NotContains(w, a.Body, "whsec_", op.path)
			}
		}
		require.Contains(w, w.do("GET", account+"/endpoints", "").Body, imported.Fingerprint())
	})
}

// Changes from the pages of other sites are refused whatever the cookies; programs,
// which are no browsers, are not concerned.
func TestOtherOrigins(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		trusting, err := New(w.hooks, w.api.authorize, &Options{TrustedOrigins: []string{"https://admin.example.com"}})
		require.NoError(w, err)
		foreign := map[string]http.Header{
			"cross-site":    {"Sec-Fetch-Site": {"cross-site"}},
			"same-site":     {"Sec-Fetch-Site": {"same-site"}},
			"old browser":   {"Origin": {"https://evil.example.com"}},
			"opaque origin": {"Origin": {"null"}},
		}
		before := w.state(acmeTest)
		for name, header := range foreign {
			for _, op := range operations {
				path := own.pathOf(op.path, "test~acme")
				r := request(op.method, path, bodiesWith(op, own.endpoint))
				for k, v := range header {
					r.Header[k] = v
				}
				a := w.serve(r)
				if op.method != http.MethodGet {
					require.Equal(w, problemTypes+"cross-origin", a.problem(w).Type, "%s: %s %s", name, op.method, path)
				}
				require.Empty(w, a.Header.Get("Access-Control-Allow-Origin"))
			}
		}
		require.Equal(w, before, w.state(acmeTest))

		for name, header := range map[string]http.Header{
			"bearer":      {"Authorization": {"Bearer token"}},
			"own origin":  {"Sec-Fetch-Site": {"same-origin"}},
			"old browser": {"Origin": {"http://example.com"}}, // as httptest's Host
		} {
			r := request("POST", account+"/endpoints/"+own.endpoint+"/enable", "")
			for k, v := range header {
				r.Header[k] = v
			}
			require.Equal(w, http.StatusOK, w.serve(r).Status, name)
		}
		r := request("POST", account+"/endpoints/"+own.endpoint+"/enable", "")
		r.Header.Set("Origin", "https://admin.example.com")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		require.Equal(w, http.StatusOK, serve(trusting, r).Status)
	})
}

// The function that authorises sees the request as it came, and what it says is who
// made a change.
func TestActor(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.api.authorize = func(r *http.Request) (dashboard.Access, error) {
			access := w.access
			access.Actor = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			return access, nil
		}
		ep := w.endpoint("https://one.example.com", "*")
		r := request("POST", account+"/endpoints/"+ep.ID+"/disable", "")
		r.Header.Set("Authorization", "Bearer robot-7")
		require.Equal(w, http.StatusOK, w.serve(r).Status)
		newest := data(w.must("GET", account+"/endpoints/"+ep.ID+"/history", ""))[0]
		require.Equal(w, "robot-7", newest["actor"])
		require.Equal(w, "disabled", newest["action"])
	})
}

func TestAccounts(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.access.Accounts = []dashboard.Account{
			{Tenant: "acme", Mode: store.Test, Name: "Acme Ltd", Rights: dashboard.Manage | dashboard.RotateSecrets},
			{Tenant: "", Mode: store.Live},
			{Tenant: "a b/ü", Mode: store.Live, Rights: dashboard.Replay},
		}
		a := w.do("GET", "/accounts", "")
		var got list[accountView]
		require.NoError(w, json.Unmarshal([]byte(a.Body), &got))
		require.Equal(w, []accountView{
			{"test~acme", "acme", "test", "Acme Ltd", []string{"manage", "rotate_secrets"}},
			{"live", "", "live", "", []string{}},
			{"live~a~20b~2f~c3~bc", "a b/ü", "live", "a b/ü", []string{"replay"}},
		}, got.Data)
		for _, acc := range got.Data {
			w.must("GET", "/accounts/"+acc.ID+"/endpoints", "")
		}
		found := data(w.must("GET", "/accounts?search=LTD", ""))
		require.Len(w, found, 1)
		require.Equal(w, "acme", found[0]["tenant"])
	})
}
