package verifier_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

// Whatever the receiving side hands out or is configured with may be logged:
// nothing shows a secret, in whatever a logger makes of it.
func TestNothingShowsSecrets(t *testing.T) {
	const opaque = "correct horse battery staple"
	private := signing.NewPrivateKey().Reveal()
	texts := []string{testSecret, opaque, private}
	secrets := make([]signing.Secret, len(texts))
	var forms []string // in which a secret would be seen
	for i, text := range texts {
		secrets[i] = signing.MustParseSecret(text)
		forms = append(forms, text, hex.EncodeToString([]byte(text)), fmt.Sprintf("%d", []byte(text)), base64.StdEncoding.EncodeToString([]byte(text)))
		if _, encoded, ok := strings.Cut(text, "_"); ok {
			raw, err := base64.StdEncoding.DecodeString(encoded)
			require.NoError(t, err)
			// The seed, which makes the whole of a private key, is its first half.
			raw = raw[:min(len(raw), 32)]
			forms = append(forms, encoded, string(raw), hex.EncodeToString(raw), strings.Trim(fmt.Sprintf("%d", raw), "[]"))
		}
	}

	now := time.Now()
	opts := verifier.Options{Previous: secrets, Dedupe: dedupe.NewMemory(nil)}
	v, err := verifier.New(testSecret, &verifier.Options{Previous: secrets[2:], Dedupe: opts.Dedupe})
	require.NoError(t, err)
	one, err := verifier.New(opaque, &verifier.Options{Previous: secrets[:1], Scheme: signing.Timestamped("X-Sig")})
	require.NoError(t, err)
	sqlDedupe, err := dedupe.NewSQL(&sql.DB{}, dedupe.SQLite, nil)
	require.NoError(t, err)
	request := verifiertest.NewRequest(t, testSecret, verifier.Event{}, nil)
	event, err := v.ConstructEventFromRequest(request)
	require.NoError(t, err)
	claim, err := opts.Dedupe.Claim(t.Context(), verifier.DedupeKey(event))
	require.NoError(t, err)
	values := map[string]any{
		"Options":          opts,
		"Previous":         opts.Previous,
		"Verifier":         v,
		"other Verifier":   one,
		"Event":            event,
		"Memory":           opts.Dedupe,
		"SQL":              sqlDedupe,
		"Claim":            claim,
		"Mux":              verifier.NewMux(nil),
		"MuxOptions":       verifier.MuxOptions{},
		"SQLOptions":       dedupe.SQLOptions{},
		"MemoryOptions":    dedupe.MemoryOptions{},
		"verifiertest":     verifiertest.Options{Scheme: signing.GitHub},
		"Message":          signing.Message{ID: "evt_1", Timestamp: now},
		"Limits":           signing.Limits{},
		"Secret":           secrets[0],
		"context":          request.Context(),
		"refusal":          refusal(t, v),
		"refusal of New":   refusalOfNew(testSecret + "\n"),
		"refusal of Bind":  refusalOfNew(opaque),
		"refusal of older": refusalOfNew(testSecret, secrets[1]),
	}
	for _, scheme := range []signing.Scheme{
		signing.Standard, signing.Timestamped("X-Sig"), signing.BodyHMAC("X-Sig", "", signing.Base64), signing.GitHub,
	} {
		values["scheme "+scheme.Name()] = scheme
		bound := secrets
		if scheme == signing.Standard {
			bound = []signing.Secret{secrets[0], secrets[2]}
		}
		key, err := scheme.Bind(bound...)
		require.NoError(t, err)
		key.SetHeaders(http.Header{}, signing.Message{ID: "evt_1", Timestamp: now}) // which fills its pools
		values["key "+scheme.Name()] = key
	}
	for name, value := range values {
		type exported struct{ V any }
		type unexported struct{ v any }
		for _, wrapped := range []any{
			value, &value,
			exported{value},
			&exported{value},
			unexported{value},
			&unexported{value},
			[]any{value},
			map[string]any{"v": value},
			map[any]any{"v": unexported{value}},
			fmt.Errorf("failed: %v", value),
		} {
			check := func(how, text string) {
				for _, form := range forms {
					if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
						t.Errorf("%s in %T, %s: %s", name, wrapped, how, text)
					}
				}
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%+s", "%q", "%#q", "%x", "%X", "% x", "%d", "%c", "%p", "%t", "%e"} {
				check(verb, fmt.Sprintf(verb, wrapped))
			}
			var log bytes.Buffer
			for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
				logger := slog.New(handler)
				logger.Info("x", "v", wrapped)
				logger.With("v", wrapped).WithGroup("g").Info("x", slog.Group("h", "v", wrapped))
			}
			check("slog", log.String())
			encoded, _ := json.Marshal(wrapped)
			check("json", string(encoded))
			var gobbed bytes.Buffer
			func() {
				defer func() { _ = recover() }() // gob has no word for nil
				_ = gob.NewEncoder(&gobbed).Encode(wrapped)
			}()
			check("gob", gobbed.String())
		}
	}
}

func refusal(t *testing.T, v *verifier.Verifier) error {
	_, err := v.ConstructEventFromRequest(verifiertest.NewRequest(t, testSecret, verifier.Event{}, &verifiertest.Options{Fault: verifiertest.Tampered}))
	require.Error(t, err)
	return err
}

func refusalOfNew(secret string, previous ...signing.Secret) error {
	_, err := verifier.New(secret, &verifier.Options{Previous: previous})
	return err
}
