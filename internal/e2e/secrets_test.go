//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
	"github.com/hookpost/hookpost/verifier"
)

// vault is a database with what must not be found in it.
type vault struct {
	*trial
	db *setup.Opened

	mu     sync.Mutex
	hidden map[string]string // by the form, what it is
	shown  bytes.Buffer      // logs, errors and printed values
}

func newVault(t *testing.T, kind string) *vault {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	v := &vault{trial: &trial{ctx: ctx, store: kind}, hidden: make(map[string]string)}
	if kind == "postgres" {
		v.createDatabase(t)
	} else {
		v.config.File = filepath.Join(t.TempDir(), "hooks.db")
	}
	var err error
	v.db, err = v.config.Open(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.db.Close() })
	return v
}

// hide notes a secret text in all forms that it might be found in.
func (v *vault) hide(what, text string) {
	forms := []string{text}
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) >= 16 {
		forms = append(forms, string(raw))
	}
	for _, form := range forms {
		v.hidden[form] = what
		v.hidden[hex.EncodeToString([]byte(form))] = what + " in hex"
		v.hidden[base64.RawStdEncoding.EncodeToString([]byte(form))] = what + " in base64"
		v.hidden[base64.RawURLEncoding.EncodeToString([]byte(form))] = what + " in base64 for URLs"
	}
}

func (v *vault) hideSecret(s signing.Secret) signing.Secret {
	v.hide("a signing secret", s.Reveal())
	v.hide("a signing key", strings.TrimPrefix(s.Reveal(), "whsec_"))
	return s
}

func (v *vault) key(t *testing.T, id string) keyring.Key {
	t.Helper()
	key, err := keyring.GenerateKey(id)
	require.NoError(t, err)
	_, text, _ := strings.Cut(key.Reveal(), ":")
	v.hide("a key of the keyring", text)
	return key
}

func (v *vault) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown.Write(p)
}

func (v *vault) logged() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown.String()
}

// show prints values in every way that an application might.
func (v *vault) show(values ...any) {
	for _, value := range values {
		fmt.Fprintf(v, "%v\n%+v\n%#v\n%s\n", value, value, value, value)
		slog.New(slog.NewJSONHandler(v, nil)).Info("shown", "value", value)
		text, err := json.Marshal(value)
		fmt.Fprintln(v, string(text), err)
	}
}

// fails notes an error that was to be expected.
func (v *vault) fails(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	v.show(err, err.Error())
	for ; err != nil; err = errors.Unwrap(err) {
		v.show(err)
	}
}

// sender starts a Sender that logs everything.
func (v *vault) sender(t *testing.T, keys ...keyring.Key) *sender.Sender {
	t.Helper()
	ring, err := keyring.New(keys...)
	require.NoError(t, err)
	s, err := sender.New(v.db.Store, &sender.Options{
		Keyring: ring, Schedule: retry.Steps(10*time.Millisecond, 10*time.Millisecond),
		Schemes: []signing.Scheme{signing.Standard, signing.Timestamped("X-Xtopay-Signature")},
		HTTP:    sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
		Logger:  slog.New(slog.NewTextHandler(v, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	require.NoError(t, s.Start(v.ctx))
	t.Cleanup(func() { v.stop(t, s) })
	return s
}

func (v *vault) stop(t *testing.T, s *sender.Sender) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

// until waits for something to become true.
func (v *vault) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-v.ctx.Done():
			t.Fatalf("gave up waiting until %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// ended waits until all deliveries of an event are, and returns them.
func (v *vault) ended(t *testing.T, tenant *sender.Tenant, eventID string) (list []store.Delivery) {
	t.Helper()
	v.until(t, "the deliveries of "+eventID+" have ended", func() bool {
		var err error
		list, err = tenant.Deliveries(v.ctx, store.DeliveryQuery{EventID: eventID})
		require.NoError(t, err)
		for _, d := range list {
			if d.State == store.Pending {
				return false
			}
		}
		return true
	})
	return list
}

// dump returns everything that the database holds.
func (v *vault) dump(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	if v.store != "postgres" {
		files, err := filepath.Glob(v.config.File + "*") // with the WAL
		require.NoError(t, err)
		require.Greater(t, len(files), 1)
		for _, name := range files {
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			out.Write(b)
		}
		return out.Bytes()
	}
	conn, err := pgx.Connect(v.ctx, server.DSN(v.database))
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(v.ctx))
	rows, err := conn.Query(v.ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'hookpost'")
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Greater(t, len(tables), 5)
	for _, table := range tables {
		rows, err := conn.Query(v.ctx, "SELECT t::text FROM hookpost."+pgx.Identifier{table}.Sanitize()+" t")
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		for _, line := range lines {
			out.WriteString(line + "\n")
			// Bytes are written in hex there; as text they may hold something in hex.
			for field := range strings.SplitSeq(line, `\\x`) {
				end := strings.IndexFunc(field, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
				if end > 0 {
					b, _ := hex.DecodeString(field[:end/2*2])
					out.Write(append(b, '\n'))
				}
			}
		}
	}
	return out.Bytes()
}

// requireHidden fails the test if anything secret stands in b.
func (v *vault) requireHidden(t *testing.T, where string, b []byte) {
	t.Helper()
	for form, what := range v.hidden {
		if i := bytes.Index(b, []byte(form)); i >= 0 {
			t.Errorf("%s shows %s (%q): …%q", where, what, form, b[max(0, i-80):min(len(b), i+len(form)+20)])
		}
	}
}

// echo answers with everything that the request says, in the way its path names.
func echo(w http.ResponseWriter, r *http.Request) {
	all, err := json.Marshal(r.Header)
	if err != nil {
		return
	}
	var plain bytes.Buffer
	_ = r.Header.Write(&plain)
	switch r.URL.Path {
	case "/malformed": // what Go's client then says quotes it
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s %s\r\n\r\n", r.Header.Get("Authorization"), r.Header.Get("X-Short"))
		return
	case "/long": // cut off in the middle of a value
		w.WriteHeader(http.StatusBadGateway)
		value := r.Header.Get("Authorization")
		_, _ = w.Write(append(bytes.Repeat([]byte("echo "), (16<<10)/5-1), strings.Repeat(value, 10)...))
		return
	}
	for name, values := range r.Header {
		w.Header().Set("Echo-"+name, values[0])
	}
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, "echo in JSON: %s\necho: %s", all, &plain)
}

// TestSecretsStayHidden does everything that secrets and custom headers go through,
// among receivers that show what they got, and then looks for them in the database,
// the log, in errors and in what is printed.
func TestSecretsStayHidden(t *testing.T) {
	onEachStore(t, func(t *testing.T, kind string) {
		v := newVault(t, kind)
		oldKey, freshKey := v.key(t, "2026"), v.key(t, "2027")
		hooks := v.sender(t, oldKey)
		receiver := httptest.NewServer(http.HandlerFunc(echo))
		t.Cleanup(receiver.Close)
		acme := hooks.For("acme", store.Test)

		headers := sender.Headers{
			"Authorization": sender.Value("Bearer eyJhbGciOiJIUzI1NiJ9.secret-of-acme"), "X-Api-Key": sender.Value(`k"ey\with<odd>&characters`), "X-Short": sender.Value("s3cr3t"),
		}
		for _, value := range headers {
			v.hide("a header's value", value.Reveal())
		}
		v.hide("a token", "eyJhbGciOiJIUzI1NiJ9.secret-of-acme")
		var events []string
		var eps []store.Endpoint
		for _, path := range []string{"/", "/malformed", "/long"} {
			spec := sender.EndpointSpec{
				URL: receiver.URL + path, EventTypes: []string{"*"}, Headers: headers, Description: "the shop's description",
				Secret: v.hideSecret(signing.NewSecret()), MoreSecrets: []signing.Secret{v.hideSecret(signing.NewSecret())},
			}
			v.show(spec)
			ep, secret, err := acme.CreateEndpoint(sender.WithActor(v.ctx, "ann"), spec)
			require.NoError(t, err)
			v.show(ep, secret)
			eps = append(eps, ep)
			spec.URL += "x"
			spec.Headers = sender.Headers{"Host": headers["Authorization"]}
			_, _, err = acme.CreateEndpoint(v.ctx, spec)
			v.fails(t, err)
			spec.Headers = sender.Headers{"X-A": sender.Value(headers["Authorization"].Reveal() + "\n")}
			_, _, err = acme.CreateEndpoint(v.ctx, spec)
			v.fails(t, err)
		}
		send := func() {
			receipt, err := acme.Send(v.ctx, sender.Event{Type: "payment.succeeded", Data: "visible data"})
			require.NoError(t, err)
			events = append(events, receipt.ID)
			for _, d := range v.ended(t, acme, receipt.ID) {
				_, attempts, err := acme.Delivery(v.ctx, d.ID)
				require.NoError(t, err)
				require.NotEmpty(t, attempts)
				v.show(d, attempts, string(attempts[0].ResponseBody), string(attempts[0].ResponseHeader))
			}
		}
		send()
		for _, ep := range eps {
			changed, secret, err := acme.RotateSecret(v.ctx, ep.ID, nil)
			require.NoError(t, err)
			v.hideSecret(secret)
			v.show(changed, secret)
			_, _, err = acme.RotateSecret(v.ctx, ep.ID, &sender.Rotation{Secret: secret})
			v.fails(t, err)
			_, err = acme.RevokeSecret(v.ctx, ep.ID, ep.Secrets[1].ID)
			require.NoError(t, err)
			v.hide("a header's value", "the-new-value-"+ep.ID)
			changed, err = acme.EditEndpoint(v.ctx, ep.ID, sender.EndpointEdit{Headers: sender.Headers{"Authorization": sender.Value("the-new-value-" + ep.ID)}})
			require.NoError(t, err)
			v.show(changed)
		}
		send()
		_, err := acme.DisableEndpoint(v.ctx, eps[0].ID, "for the test")
		require.NoError(t, err)
		_, err = acme.EnableEndpoint(v.ctx, eps[0].ID)
		require.NoError(t, err)
		require.NoError(t, acme.DeleteEndpoint(v.ctx, eps[2].ID))
		v.stop(t, hooks)

		// To the new key, and on without the old one.
		hooks = v.sender(t, freshKey, oldKey)
		v.until(t, "the old key is out of use", func() bool {
			under, err := hooks.SealedUnder(v.ctx)
			require.NoError(t, err)
			return len(under) == 1 && under["2027"] == 2*(2+3)
		})
		v.stop(t, hooks)
		hooks = v.sender(t, freshKey)
		acme = hooks.For("acme", store.Test)
		send()
		for i, ep := range eps {
			history, err := acme.EndpointHistory(v.ctx, ep.ID)
			require.NoError(t, err)
			x, err := acme.Explain(v.ctx, events[0], ep.ID)
			require.NoError(t, err)
			now, err := acme.Endpoint(v.ctx, ep.ID)
			require.NoError(t, err)
			require.Equal(t, i == 2, now.State == store.Deleted)
			v.show(history, x, now)
		}
		v.stop(t, hooks)
		v.show(freshKey)
		if !raceEnabled { // fmt reads, without their locks, what connections still write
			v.show(hooks, acme)
		}

		dump, shown := v.dump(t), []byte(v.logged())
		v.requireHidden(t, "the database", dump)
		v.requireHidden(t, "the application", shown)

		// That the search would have found them: what is no secret is there.
		for _, visible := range []string{"the shop's description", "visible data", "Authorization", "X-Api-Key", "echo in JSON", `"Authorization":["***"]`, "Webhook-Signature", "Echo-", "malformed HTTP", "ann"} {
			require.True(t, bytes.Contains(dump, []byte(visible)), visible)
			if visible != "visible data" {
				require.True(t, bytes.Contains(shown, []byte(visible)), visible)
			}
		}
	})
}

// TestLostKey starts a Sender on a database whose key it does not have, or has
// wrong: nothing is sent, nothing is charged and nothing changes, until one has the
// key.
func TestLostKey(t *testing.T) {
	onEachStore(t, func(t *testing.T, kind string) {
		for _, id := range []string{"2027", "2026"} { // lost, and wrong
			t.Run(id, func(t *testing.T) {
				v := newVault(t, kind)
				right, other := v.key(t, "2026"), v.key(t, id)
				rcv := sendertest.NewReceiver(t)
				hooks := v.sender(t, right)
				ep, secret, err := hooks.CreateEndpoint(v.ctx, sender.EndpointSpec{
					URL: rcv.URL(), EventTypes: []string{"*"}, NoTestEvent: true, Headers: sender.Headers{"Authorization": sender.Value("Bearer of-the-endpoint")},
				})
				require.NoError(t, err)
				v.hide("a header's value", "Bearer of-the-endpoint")
				v.hideSecret(secret)
				v.stop(t, hooks)
				before, err := v.db.Store.Endpoint(v.ctx, ep.Scope, ep.ID)
				require.NoError(t, err)

				hooks = v.sender(t, other)
				const events = 20
				for range events {
					_, err := hooks.Send(v.ctx, sender.Event{Type: "push"})
					require.NoError(t, err)
				}
				v.until(t, "the log says why nothing is sent", func() bool {
					return strings.Contains(v.logged(), "opening a secret of "+ep.ID)
				})
				v.stop(t, hooks)
				require.Zero(t, rcv.Count())
				list, err := hooks.Deliveries(v.ctx, store.DeliveryQuery{})
				require.NoError(t, err)
				require.Len(t, list, events)
				for _, d := range list {
					require.Equal(t, store.Pending, d.State)
					require.False(t, d.InFlight)
					require.Zero(t, d.Attempts)
					require.Zero(t, d.Failures)
				}
				after, err := v.db.Store.Endpoint(v.ctx, ep.Scope, ep.ID)
				require.NoError(t, err)
				require.Equal(t, before, after)
				require.Contains(t, v.logged(), map[string]string{"2027": "keyring: unknown key", "2026": "keyring: cannot open"}[id])

				hooks = v.sender(t, right)
				got := rcv.Wait(events)
				check, err := verifier.New(secret.Reveal(), nil)
				require.NoError(t, err)
				for _, r := range got {
					_, err := check.ConstructEvent(r.Body, r.Header)
					require.NoError(t, err)
					require.Equal(t, "Bearer of-the-endpoint", r.Header.Get("Authorization"))
				}
				v.stop(t, hooks)
				v.requireHidden(t, "the database", v.dump(t))
				v.requireHidden(t, "the application", []byte(v.logged()))
			})
		}
	})
}
