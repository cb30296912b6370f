package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
	"github.com/hookpost/hookpost/store/sqlite"
)

// newStore returns a shell with a new SQLite store and keys.
func newStore(t *testing.T) *shell {
	t.Helper()
	s := newShell(t)
	s = s.with("HOOKPOST_STORE", "sqlite:"+t.TempDir()+"/webhooks.db").with("HOOKPOST_KEYS", strings.TrimSpace(s.must(t, "keys", "new")))
	s.must(t, "migrate")
	return s
}

// work runs the application on the store until nothing is pending.
func work(t *testing.T, s *shell) {
	t.Helper()
	st, err := sqlite.Open(t.Context(), strings.TrimPrefix(s.env["HOOKPOST_STORE"], "sqlite:"), nil)
	require.NoError(t, err)
	defer st.Close()
	keys, err := keyring.ParseKeys(s.env["HOOKPOST_KEYS"])
	require.NoError(t, err)
	ring, err := keyring.New(keys...)
	require.NoError(t, err)
	hooks, err := sender.New(st, &sender.Options{
		Keyring: ring, Schedule: retry.None, PollInterval: 5 * time.Millisecond,
		HTTP: sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
	})
	require.NoError(t, err)
	require.NoError(t, hooks.Start(t.Context()))
	for {
		pending, err := hooks.Deliveries(t.Context(), store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1})
		require.NoError(t, err)
		if len(pending) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, hooks.Stop(context.WithoutCancel(t.Context())))
}

// id returns the field of what a command prints as JSON.
func (s *shell) id(t *testing.T, field string, args ...string) string {
	t.Helper()
	var v map[string]any
	s.json(t, &v, args...)
	text, ok := v[field].(string)
	require.True(t, ok, "%v has no %s", v, field)
	return text
}

// A test event that was answered 400 does not pass for a success.
func TestReachedOnly(t *testing.T) {
	s := newStore(t)
	rcv := sendertest.NewReceiver(t, sendertest.Answer{Status: 400, Body: "no signature"})
	ep := s.id(t, "id", "endpoints", "create", rcv.URL()+"/hooks", "--events", "*", "--allow", "127.0.0.1")
	work(t, s)
	list := s.must(t, "deliveries", "--endpoint", ep)
	require.Contains(t, list, "reached  webhook.test  1         400")
	dlv := strings.Fields(strings.Split(list, "\n")[1])[0]
	shown := s.must(t, "deliveries", "show", dlv)
	require.Regexp(t, `state +reached, answered 400\n`, shown)
	require.Regexp(t, `reached +400 Bad Request +the receiver answered 400 Bad Request +no signature`, shown)
	require.NotContains(t, list+shown, "delivered")
	require.Contains(t, s.must(t, "explain", dlv), "but the test event was not accepted: the receiver answered 400 Bad Request.")
	require.Equal(t, "reached", s.id(t, "why", "explain", dlv))
	var v struct {
		State       string
		ReachedOnly bool `json:"reached_only"`
		Log         []struct {
			ReachedOnly bool `json:"reached_only"`
		} `json:"attempt_log"`
	}
	s.json(t, &v, "deliveries", "show", dlv)
	require.Equal(t, "delivered", v.State)
	require.True(t, v.ReachedOnly)
	require.True(t, v.Log[0].ReachedOnly)
}

// Deliveries that nobody takes up say so: the command line itself sends nothing, and
// does not take that for a missing key.
func TestPendingIsExplained(t *testing.T) {
	s := newStore(t)
	rcv := sendertest.NewReceiver(t)
	ep := s.id(t, "id", "endpoints", "create", rcv.URL()+"/hooks", "--events", "*", "--allow", "127.0.0.1", "--no-test-event")
	evt := s.id(t, "id", "send", "--type", "push")
	dlv := s.id(t, "delivery_id", "replay", evt, ep)
	const idle = "This process sends nothing, since its Sender is not running."
	require.Contains(t, s.must(t, "explain", evt, ep), idle)
	require.Contains(t, s.must(t, "explain", dlv), idle)
	require.Regexp(t, `why +Due since .*`+idle, s.must(t, "deliveries", "show", dlv))
	require.Equal(t, "due", s.id(t, "wait", "explain", dlv))
	require.Contains(t, s.must(t, "deliveries"), "due ")
	time.Sleep(overdueAfter)
	require.Contains(t, s.must(t, "deliveries"), "overdue since ")
	require.Regexp(t, `when +overdue since `, s.must(t, "deliveries", "show", dlv))
	s.must(t, "endpoints", "disable", ep)
	require.Equal(t, "disabled", s.id(t, "wait", "explain", dlv))
	var v struct {
		Explanation struct{ Why, Wait, Text string }
	}
	s.json(t, &v, "deliveries", "show", dlv)
	require.Equal(t, "pending", v.Explanation.Why)
	require.Equal(t, "disabled", v.Explanation.Wait)
	require.Equal(t, "Waiting: the endpoint is disabled.", v.Explanation.Text)
}

// A day with a store: an endpoint, an event that fails, and what a person does about
// it.
func TestOperate(t *testing.T) {
	s := newStore(t)
	rcv := sendertest.NewReceiver(t, sendertest.Status(500), sendertest.Status(200))
	ep := s.id(t, "id", "endpoints", "create", rcv.URL()+"/hooks", "--events", "payment.*", "--allow", "127.0.0.1", "--no-test-event", "--actor", "ama")
	require.Contains(t, s.must(t, "endpoints"), ep)
	s.refuses(t, exitNo, "another endpoint in live mode has this URL", "endpoints", "create", rcv.URL()+"/hooks", "--events", "*", "--allow", "127.0.0.1")

	evt := s.id(t, "id", "send", "--type", "payment.succeeded", "--data", `{"amount":5000}`, "--ref", "pay_1")
	require.Contains(t, s.must(t, "send", "--type", "payment.succeeded", "--data", `{"amount":5000}`, "--id", evt), "is stored already")
	s.refuses(t, exitNo, "with other content is stored already", "send", "--type", "payment.succeeded", "--id", evt)
	require.Contains(t, s.must(t, "send", "--type", "invoice.sent"), "no enabled endpoint selects its type")
	require.Contains(t, s.must(t, "deliveries"), "pending")

	work(t, s)
	list := s.must(t, "deliveries", "--ref", "pay_1", "--state", "exhausted", "--from", "1h")
	require.Contains(t, list, "exhausted  payment.succeeded  1         500")
	require.Contains(t, list, evt)
	dlv := strings.Fields(strings.Split(list, "\n")[1])[0]
	require.Contains(t, s.must(t, "explain", evt, ep), "Given up at")
	require.Equal(t, s.must(t, "explain", evt, ep), s.must(t, "explain", dlv))
	shown := s.must(t, "deliveries", "show", dlv)
	require.Contains(t, shown, "500 Internal Server Error")
	require.Contains(t, shown, `"data":{"amount":5000}}`)
	require.Equal(t, "exhausted", s.id(t, "why", "explain", evt, ep))

	require.Contains(t, s.must(t, "recover", "--dry-run"), "1  exhausted deliveries would be given a new one")
	require.Contains(t, s.must(t, "recover", "--endpoint", ep), "1  exhausted deliveries were given a new one")
	work(t, s)
	require.Equal(t, "delivered", s.id(t, "why", "explain", evt, ep))

	again := s.id(t, "delivery_id", "replay", dlv)
	require.Contains(t, s.must(t, "deliveries", "cancel", again, "--reason", "by mistake"), "is cancelled")
	s.refuses(t, exitNo, "is not pending any more", "deliveries", "cancel", again)

	require.Contains(t, s.must(t, "endpoints", "disable", ep, "--reason", "their maintenance"), "is disabled")
	s.refuses(t, exitNo, "hookpost endpoints enable "+ep, "replay", evt, ep)
	s.refuses(t, exitNo, "the endpoint is disabled", "endpoints", "test", ep)
	s.must(t, "send", "--type", "payment.failed")
	require.Contains(t, s.must(t, "endpoints", "show", ep), "their maintenance")
	s.must(t, "endpoints", "enable", ep)
	require.Contains(t, s.must(t, "recover", "--missed", "--endpoint", ep), "1  missed events are queued")
	require.Contains(t, s.must(t, "endpoints", "test", ep), "is queued")
	work(t, s)
	require.Contains(t, s.must(t, "deliveries", "--endpoint", ep, "--limit", "1"), "webhook.test")

	require.Contains(t, s.must(t, "endpoints", "edit", ep, "--events", "*,refund.processed", "--description", "the shop"), "*, refund.processed")
	history := s.must(t, "endpoints", "history", ep)
	require.Regexp(t, `created +ama `, history)
	require.Contains(t, history, `description "the shop"`)
	s.must(t, "send", "--type", "refund.processed")
	require.Contains(t, s.must(t, "endpoints", "delete", ep), "is deleted; 1 pending delivery is cancelled.")
	s.refuses(t, exitNo, "the endpoint is deleted", "endpoints", "enable", ep)
	s.refuses(t, exitNo, "the endpoint is deleted", "replay", evt, ep)
	require.NotContains(t, s.must(t, "endpoints"), ep)
	require.Contains(t, s.must(t, "endpoints", "--deleted"), ep)
	require.NotEmpty(t, rcv.Requests())
}

// Whatever is not there is said to be missing in this tenant and mode.
func TestNotFound(t *testing.T) {
	s := newStore(t)
	ep := s.id(t, "id", "endpoints", "create", "https://example.com/", "--events", "a", "--mode", "test")
	evt := s.id(t, "id", "send", "--type", "a", "--mode", "test")
	for _, args := range []string{
		"endpoints show " + ep, "endpoints edit " + ep + " --events b", "endpoints disable " + ep, "endpoints enable " + ep, "endpoints delete " + ep,
		"endpoints test " + ep, "endpoints history " + ep, "recover --endpoint " + ep, "endpoints --after " + ep,
		"deliveries show dlv_1_1_0", "deliveries cancel dlv_1_1_0", "explain dlv_1_1_0", "replay dlv_1_1_0",
	} {
		s.refuses(t, exitNo, "in live mode; --tenant and --mode choose", strings.Fields(args)...)
		s.refuses(t, exitNo, "in test mode of tenant acme;", append(strings.Fields(args), "--tenant", "acme", "--mode", "test")...)
	}
	s.refuses(t, exitNo, "there is no event evt_x in test mode", "explain", "evt_x", ep, "--mode", "test")
	s.refuses(t, exitNo, "there is no endpoint ep_x in test mode", "replay", evt, "ep_x", "--mode", "test")
	require.Empty(t, s.must(t, "deliveries", "--endpoint", ep))
	require.Empty(t, s.must(t, "deliveries", "--event", evt))
}

// A secret is shown by the one command that makes it, and stays what it was if the
// endpoint brings it.
func TestEndpointSecrets(t *testing.T) {
	s := newStore(t)
	out := s.must(t, "endpoints", "create", "https://example.com/a", "--events", "a")
	require.Regexp(t, `it is not shown again:\nwhsec_\S{44}\n$`, out)
	secret := out[strings.LastIndex(out, "whsec_"):]
	var list struct {
		Endpoints []struct {
			ID      string
			Secrets []struct{ Fingerprint string }
		}
	}
	s.json(t, &list, "endpoints")
	require.Contains(t, s.typing(secret).must(t, "keys", "fingerprint", "--secret-file", "-"), list.Endpoints[0].Secrets[0].Fingerprint)
	for _, args := range []string{"endpoints", "endpoints show ID", "endpoints history ID", "endpoints disable ID"} {
		args = strings.ReplaceAll(args, "ID", list.Endpoints[0].ID)
		require.NotContains(t, s.must(t, strings.Fields(args)...), "whsec_")
		require.NotContains(t, s.must(t, append(strings.Fields(args), "--json")...), "whsec_")
	}

	out = s.typing(someSecret+"\nan older one").must(t, "endpoints", "create", "https://example.com/b", "--events", "a", "--scheme", "stripe", "--secret-file", "-")
	require.NotContains(t, out, someSecret, "its receiver has it")
	require.Equal(t, 2, strings.Count(out, "fingerprint"))
	require.Contains(t, out, "timestamped:Stripe-Signature")

	plain := s.with("HOOKPOST_KEYS", "")
	require.Contains(t, plain.must(t, "endpoints", "create", "https://example.com/c", "--events", "a", "--plaintext-secrets"), "sealed with key plaintext")
}

// An endpoint keeps schemes and a schedule that only the application knows.
func TestEditKeepsWhatTheApplicationHas(t *testing.T) {
	s := newStore(t)
	ep := s.id(t, "id", "endpoints", "create", "https://example.com/", "--events", "a", "--schedule", "patient", "--scheme", "timestamped:X-Xtopay-Signature")
	out := s.must(t, "endpoints", "edit", ep, "--url", "https://example.com/new")
	require.Contains(t, out, "patient")
	require.Contains(t, out, "timestamped:X-Xtopay-Signature")
	require.Equal(t, "of-the-application", schemesNamed([]string{"standard", "of-the-application"})[1].Name())
	require.NotContains(t, s.must(t, "endpoints", "edit", ep, "--schedule", ""), "patient")
}

// Pages follow one another.
func TestPages(t *testing.T) {
	s := newStore(t)
	for _, path := range []string{"a", "b", "c"} {
		s.must(t, "endpoints", "create", "https://example.com/"+path, "--events", "*", "--no-test-event")
	}
	for range 2 {
		s.must(t, "send", "--type", "x")
	}
	pages := func(key, flag string, args ...string) (sizes []int) {
		next := ""
		for {
			var v map[string]json.RawMessage
			more := args
			if next != "" {
				more = append(slices.Clone(args), flag, next)
			}
			s.json(t, &v, more...)
			var list []struct{ ID string }
			require.NoError(t, json.Unmarshal(v[key], &list))
			sizes = append(sizes, len(list))
			if v["next"] == nil {
				return sizes
			}
			require.NoError(t, json.Unmarshal(v["next"], &next))
			require.Equal(t, list[len(list)-1].ID, next)
		}
	}
	require.Equal(t, []int{2, 1}, pages("endpoints", "--after", "endpoints", "--limit", "2"))
	require.Equal(t, []int{4, 2}, pages("deliveries", "--before", "deliveries", "--limit", "4"))
	_, _, errs := s.call("deliveries", "--limit", "4")
	require.Contains(t, errs, "--before dlv_")
}

// Interrupted, recover says what was done, and run again it finishes.
func TestRecoverInterrupted(t *testing.T) {
	s := newStore(t)
	rcv := sendertest.NewReceiver(t, sendertest.Status(500))
	s.must(t, "endpoints", "create", rcv.URL(), "--events", "*", "--allow", "127.0.0.1", "--no-test-event")
	const events = 30
	for range events {
		s.must(t, "send", "--type", "a")
	}
	work(t, s)

	ctx, cancel := context.WithCancel(t.Context())
	interrupted := &shell{ctx, s.env, ""}
	go func() {
		for !strings.Contains(s.must(t, "deliveries", "--state", "pending", "--json"), "dlv_") {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	status, out, errs := interrupted.call("recover", "--rate", "1", "--json")
	require.Equal(t, exitInterrupted, status)
	require.Equal(t, "hookpost recover: interrupted\n", errs)
	type report struct {
		Replayed int
		Complete bool
	}
	var first, second report
	require.NoError(t, json.Unmarshal([]byte(out), &first))
	require.False(t, first.Complete)
	require.Positive(t, first.Replayed)
	s.json(t, &second, "recover")
	require.Equal(t, report{events - first.Replayed, true}, second)
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out)
		p.show(sender.RecoverReport{Replayed: 1})
		require.Empty(t, out.String(), "what is quick needs no progress")
		time.Sleep(6 * time.Second)
		p.show(sender.RecoverReport{Replayed: 1000})
		p.show(sender.RecoverReport{Replayed: 2000})
		p.end()
		require.Equal(t, "replayed 1000, hastened 0, missed 0\n", out.String())
	})
}

// No command but migrate makes a database or its tables.
func TestMigrate(t *testing.T) {
	s := newShell(t)
	file := t.TempDir() + "/webhooks.db"
	s = s.with("HOOKPOST_STORE", "sqlite:"+file)
	s.refuses(t, exitTrouble, "there is no database "+file+"; hookpost migrate makes one", "deliveries")
	require.NoFileExists(t, file)
	status, out, _ := s.call("migrate", "--check")
	require.Equal(t, exitNo, status)
	require.Contains(t, out, "missing or old")
	require.NoFileExists(t, file)
	require.Contains(t, s.must(t, "migrate", "--sql"), "CREATE TABLE hookpost_schema")
	require.NoFileExists(t, file)
	require.Contains(t, s.must(t, "migrate"), "are those of this version now")
	require.Contains(t, s.must(t, "migrate"), "nothing to do")
	s.must(t, "migrate", "--check")

	empty := s.with("HOOKPOST_STORE", "sqlite:"+writeFile(t, ""))
	empty.refuses(t, exitTrouble, "hookpost migrate makes them", "endpoints")
	s.with("HOOKPOST_STORE", "sqlite:"+writeFile(t, strings.Repeat("no database ", 100))).refuses(t, exitTrouble, "not a SQLite database", "endpoints")
	require.Contains(t, s.must(t, "migrate", "--sql", "--store", "postgres://", "--schema", `my"hooks`), `CREATE TABLE "my""hooks".event`)
}

// The names of fields are part of what programs rely on.
func TestFieldNames(t *testing.T) {
	s := newStore(t)
	rcv := sendertest.NewReceiver(t, sendertest.Status(500))
	fields := func(args ...string) string {
		var v any
		s.json(t, &v, args...)
		return strings.Join(names(v), " ")
	}
	const endpoint = "changed_at created_at event_types failures id mode secrets.fingerprint secrets.key state tenant url"
	require.Equal(t, strings.Replace(endpoint, " secrets", " secret secrets", 1), fields("endpoints", "create", rcv.URL(), "--events", "*", "--allow", "127.0.0.1"))
	require.Equal(t, "deliveries duplicate id", fields("send", "--type", "a", "--ref", "r"))
	work(t, s)
	ep := s.must(t, "endpoints", "--json")
	id := ep[strings.Index(ep, "ep_"):][:39]
	require.Contains(t, fields("endpoints"), "endpoints.failing_since endpoints.failures endpoints.id endpoints.last_failure")
	const delivery = "attempts created_at endpoint_id event_id event_type finished_at first_at id last_status reason state"
	require.Equal(t, delivery, strings.ReplaceAll(fields("deliveries", "--type", "a"), "deliveries.", ""))
	require.Equal(t, "attempt_log.class attempt_log.error attempt_log.n attempt_log.outcome attempt_log.started_at attempt_log.status attempt_log.took_ms attempt_log.url "+
		strings.NewReplacer("created_at", "body created_at", "event_type", "event_type explanation.text explanation.why").Replace(delivery)+" refs", strings.Replace(fields("deliveries", "show", "dlv_2_1_0"), " refs state", " state refs", 1))
	require.Contains(t, fields("explain", "dlv_2_1_0"), "endpoint_id event_id event_type stored_at text url why")
	require.Equal(t, "delivery_id endpoint_id event_id", fields("replay", "dlv_2_1_0"))
	require.Equal(t, "complete dry_run hastened missed replayed", fields("recover"))
	s.must(t, "endpoints", "disable", id)
	require.Equal(t, "changes.action changes.actor changes.at changes.new.event_types changes.new.state changes.new.url changes.old.event_types changes.old.state changes.old.url changes.version",
		fields("endpoints", "history", id))
	require.Equal(t, "changed current", fields("migrate"))
}

// names returns the paths of all fields.
func names(v any) []string {
	set := map[string]bool{}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				walk(prefix+"."+name, inner)
			}
			return
		case []any:
			for _, inner := range v {
				if _, ok := inner.(map[string]any); ok {
					walk(prefix, inner)
				}
			}
			if len(v) > 0 {
				if _, ok := v[0].(map[string]any); ok {
					return
				}
			}
		}
		set[strings.TrimPrefix(prefix, ".")] = true
	}
	walk("", v)
	return slices.Sorted(maps.Keys(set))
}

// A URI that names no file makes none.
func TestURIOfNoDatabase(t *testing.T) {
	s := newShell(t)
	dir := filepath.ToSlash(t.TempDir())
	file := dir + "/my webhooks.db"
	if dir[0] != '/' {
		dir = "/" + dir // file:/C:/my%20webhooks.db
	}
	for _, uri := range []string{
		"file:" + dir + "/my%20webhooks.db", "file://" + dir + "/my%20webhooks.db", "file://localhost" + dir + "/my%20webhooks.db?_pragma=cache_size(-1000)",
	} {
		s = s.with("HOOKPOST_STORE", "sqlite:"+uri)
		s.refuses(t, exitTrouble, "there is no database "+uri+"; hookpost migrate makes one", "endpoints")
		status, _, _ := s.call("migrate", "--check")
		require.Equal(t, exitNo, status)
		require.NoFileExists(t, file)
		require.Contains(t, s.must(t, "migrate"), "are those of this version now")
		require.FileExists(t, file)
		require.Contains(t, s.must(t, "endpoints", "--json"), "[]")
		require.NoError(t, os.Remove(file))
	}
	t.Chdir(filepath.Dir(file))
	s.refuses(t, exitTrouble, "there is no database", "endpoints", "--store", "sqlite:file:webhooks.db")
	require.NoFileExists(t, "webhooks.db")
}

// The statements as JSON are those without it.
func TestMigrationsAsJSON(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{{"--store", "postgres://", "--schema", "my hooks"}, {"--store", "postgres://"}, {"--store", "sqlite:x"}} {
		var v struct{ Migrations []struct{ Name, SQL string } }
		args = append([]string{"migrate", "--sql"}, args...)
		s.json(t, &v, args...)
		require.NotEmpty(t, v.Migrations)
		statements := func(text string) string {
			return strings.Join(strings.Fields(regexp.MustCompile(`(?m)--.*$`).ReplaceAllString(text, "")), " ")
		}
		all := ""
		for _, m := range v.Migrations {
			all += m.SQL + "\n"
		}
		require.Equal(t, statements(s.must(t, args...)), statements(all))
	}
}

// What was set in Go is shown, and does not stand in the way of a change.
func TestEndpointOfTheApplication(t *testing.T) {
	s := newStore(t)
	st, err := sqlite.Open(t.Context(), strings.TrimPrefix(s.env["HOOKPOST_STORE"], "sqlite:"), nil)
	require.NoError(t, err)
	keys, err := keyring.ParseKeys(s.env["HOOKPOST_KEYS"])
	require.NoError(t, err)
	ring, err := keyring.New(keys...)
	require.NoError(t, err)
	hooks, err := sender.New(st, &sender.Options{Keyring: ring, Lease: time.Minute})
	require.NoError(t, err)
	ep, _, err := hooks.CreateEndpoint(t.Context(), sender.EndpointSpec{
		URL: "https://example.com/", EventTypes: []string{"*"}, Timeout: 30 * time.Second,
		Headers: sender.Headers{"Authorization": sender.Value("Bearer of-a-secret")},
	})
	require.NoError(t, err)
	shorter := 20 * time.Second
	_, err = hooks.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Timeout: &shorter, Headers: sender.Headers{"X-Shop": sender.Value("1")}})
	require.NoError(t, err)
	require.NoError(t, st.Close())

	// An edit of something else does not judge the URL by this command's own Egress.
	const inside = "https://db.example:5432/hook"
	inner := s.id(t, "id", "endpoints", "create", inside, "--events", "*", "--allow", "10.0.0.0/8")
	s.must(t, "endpoints", "edit", inner, "--description", "inside")
	s.must(t, "endpoints", "edit", inner, "--description", "still inside", "--url", inside)
	require.Equal(t, inside, s.id(t, "url", "endpoints", "show", inner))

	s.must(t, "endpoints", "edit", ep.ID, "--description", "the shop")
	shown := s.must(t, "endpoints", "show", ep.ID)
	require.Regexp(t, `timeout +20s\n`, shown)
	require.Regexp(t, `headers +Authorization, X-Shop\n`, shown)
	var v struct {
		TimeoutMillis int `json:"timeout_ms"`
		Headers       []string
	}
	s.json(t, &v, "endpoints", "show", ep.ID)
	require.Equal(t, 20_000, v.TimeoutMillis)
	require.Equal(t, []string{"Authorization", "X-Shop"}, v.Headers)
	history := s.must(t, "endpoints", "history", ep.ID)
	require.Contains(t, history, `timeout "20s", headers "Authorization, X-Shop"`)
	require.NotContains(t, history+shown, "of-a-secret")
}

// The first line of a history has nothing before it.
func TestHistoryBegins(t *testing.T) {
	s := newStore(t)
	ep := s.id(t, "id", "endpoints", "create", "https://example.com/", "--events", "a")
	s.must(t, "endpoints", "disable", ep)
	var v struct{ Changes []map[string]any }
	s.json(t, &v, "endpoints", "history", ep)
	require.Len(t, v.Changes, 2)
	require.NotContains(t, v.Changes[0], "old")
	require.Equal(t, "enabled", v.Changes[1]["old"].(map[string]any)["state"])
	require.Equal(t, "disabled", v.Changes[1]["new"].(map[string]any)["state"])
}

// A secret that could not be printed is lost, and that is said.
func TestSecretThatIsNotPrinted(t *testing.T) {
	for _, more := range [][]string{nil, {"--json"}} {
		s := newStore(t)
		var errs bytes.Buffer
		args := append([]string{"endpoints", "create", "https://example.com/", "--events", "a"}, more...)
		status := run(t.Context(), args, surroundings{
			stdout: fullDisk{}, stderr: &errs, getenv: func(name string) string { return s.env[name] },
		})
		require.Equal(t, exitTrouble, status)
		ep := strings.Fields(strings.Split(s.must(t, "endpoints"), "\n")[1])[0]
		require.Contains(t, errs.String(), ep+" is registered, but its secret could not be printed (no space left); hookpost endpoints delete "+ep)
		require.NotContains(t, errs.String(), "whsec_")
	}
}

// An answer that is no text keeps its bytes.
func TestBinaryAnswer(t *testing.T) {
	v := newAttempt(&store.Attempt{ResponseBody: []byte("\xff\x00")})
	require.Empty(t, v.ResponseBody)
	require.Equal(t, []byte("\xff\x00"), v.ResponseBase64)
	v = newAttempt(&store.Attempt{ResponseBody: []byte("text")})
	require.Equal(t, "text", v.ResponseBody)
	require.Nil(t, v.ResponseBase64)
}
