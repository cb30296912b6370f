package signing_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

func TestNewSecret(t *testing.T) {
	a, b := signing.NewSecret(), signing.NewSecret()
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, a.Reveal())
	require.False(t, a.Equal(b))
	require.NotEqual(t, a.Fingerprint(), b.Fingerprint())
	_, err := signing.Standard.Bind(a)
	require.NoError(t, err)

	fixed, err := signing.NewSecretFrom(strings.NewReader(strings.Repeat("k", 32)))
	require.NoError(t, err)
	require.Equal(t, "whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", fixed.Reveal())

	_, err = signing.NewSecretFrom(strings.NewReader("short"))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestParseSecret(t *testing.T) {
	for _, text := range []string{"x", "opaque text with spaces", "sécret", "whsec_x", "whsec_***x", strings.Repeat("x", 1024)} {
		s, err := signing.ParseSecret(text)
		require.NoError(t, err)
		require.Equal(t, text, s.Reveal())
		require.False(t, s.IsZero())
	}
	for name, text := range map[string]string{
		"empty": "", "nothing but a mark": "whsec_", "nothing but another": "whpk_", "long": strings.Repeat("x", 1025), "line end": "abc\n", "space": " abc", "no-break space": "abc\u00a0",
		"control": "a\x00b", "invalid UTF-8": "a\xff", "redacted": "whsec_***", "redacted opaque": "***",
	} {
		t.Run(name, func(t *testing.T) {
			s, err := signing.ParseSecret(text)
			require.ErrorIs(t, err, signing.ErrBadSecret)
			require.True(t, s.IsZero())
			if len(text) > 1 {
				require.NotContains(t, err.Error(), text)
			}
		})
	}
}

func TestMustParseSecret(t *testing.T) {
	require.Equal(t, "opaque text", signing.MustParseSecret("opaque text").Reveal())
	for _, text := range []string{"", "whsec_", "opaque text\n", "whsec_***", strings.Repeat("x", 1025)} {
		_, want := signing.ParseSecret(text)
		require.PanicsWithError(t, want.Error(), func() { signing.MustParseSecret(text) })
		if len(text) > 8 {
			require.NotContains(t, want.Error(), strings.TrimSpace(text))
		}
	}
}

func TestSecretZero(t *testing.T) {
	var zero signing.Secret
	require.True(t, zero.IsZero())
	require.Empty(t, zero.Reveal())
	require.Empty(t, zero.String())
	require.Empty(t, zero.Fingerprint())
	require.True(t, zero.Equal(signing.Secret{}))
	require.False(t, zero.Equal(signing.NewSecret()))
	for _, scheme := range []signing.Scheme{signing.Standard, signing.Timestamped("X-Sig")} {
		for name, secrets := range map[string][]signing.Secret{"none": {}, "zero": {zero}, "zero beside another": {signing.NewSecret(), zero}} {
			_, err := scheme.Bind(secrets...)
			require.ErrorIs(t, err, signing.ErrBadSecret, name)
		}
	}
}

func TestSecretEqual(t *testing.T) {
	a, err := signing.ParseSecret("one")
	require.NoError(t, err)
	b, err := signing.ParseSecret("one")
	require.NoError(t, err)
	require.True(t, a.Equal(b))
	require.Equal(t, a.Fingerprint(), b.Fingerprint())
	require.Len(t, a.Fingerprint(), 8)
}

// However a secret is printed, logged or encoded, its text must not appear.
func TestSecretNeverPrints(t *testing.T) {
	const (
		hidden        = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		hiddenPrivate = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc"
	)
	s, err := signing.ParseSecret("whsec_" + hidden)
	require.NoError(t, err)
	opaque, err := signing.ParseSecret(hidden)
	require.NoError(t, err)
	private, err := signing.ParseSecret("whsk_" + hiddenPrivate + "=")
	require.NoError(t, err)
	key, err := signing.Standard.Bind(s, opaque, private)
	require.NoError(t, err)
	other, err := signing.Timestamped("X-Sig").Bind(s)
	require.NoError(t, err)
	third, err := signing.GitHub.Bind(s)
	require.NoError(t, err)
	seed, err := base64.RawStdEncoding.DecodeString(hiddenPrivate)
	require.NoError(t, err)
	raw, err := base64.StdEncoding.DecodeString(hidden)
	require.NoError(t, err)

	type unexported struct {
		secret  signing.Secret
		list    []signing.Secret
		byName  map[string]signing.Secret
		pointer *signing.Secret
		key     signing.Key
	}
	type exported struct {
		Secret signing.Secret
		List   []signing.Secret
		Any    any
	}
	values := []any{
		s, &s, opaque, private, &private, key, other, third, &key,
		[]signing.Secret{s, opaque},
		map[string]signing.Secret{"a": s},
		unexported{s, []signing.Secret{s, opaque}, map[string]signing.Secret{"a": s}, &s, key},
		&unexported{s, []signing.Secret{s, opaque}, map[string]signing.Secret{"a": s}, &s, other},
		exported{s, []signing.Secret{opaque}, s},
		&exported{s, []signing.Secret{opaque}, &s},
		fmt.Errorf("wrapped: %v", s), errors.New(s.String()),
	}
	check := func(how, out string) {
		t.Helper()
		for _, h := range []string{hidden, hiddenPrivate, string(seed), string(raw)} {
			require.NotContains(t, out, h, how)
			require.NotContains(t, out, fmt.Sprintf("%x", h), how)
			require.NotContains(t, out, fmt.Sprintf("%X", h), how)
			require.NotContains(t, out, fmt.Sprintf("% x", h), how)
			require.NotContains(t, out, strings.Trim(fmt.Sprintf("%d", []byte(h)), "[]"), how)
			require.NotContains(t, out, strings.TrimSuffix(fmt.Sprintf("%#v", []byte(h))[len("[]byte{"):], "}"), how)
		}
	}
	for i, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%t", "%p", "%T", "%10v", "%.3s", "%b", "%o", "%e", "%U", "%c"} {
			check(fmt.Sprintf("value %d with %s", i, verb), fmt.Sprintf(verb, v))
		}
		var buf bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
			slog.New(h).Info("m", "v", v, slog.Group("g", slog.Any("v", v)))
			slog.New(h).With("v", v).Info("m")
		}
		check(fmt.Sprintf("value %d in slog", i), buf.String())
		if out, err := json.Marshal(v); err == nil {
			check(fmt.Sprintf("value %d in JSON", i), string(out))
		}
		if out, err := xml.Marshal(v); err == nil {
			check(fmt.Sprintf("value %d in XML", i), string(out))
		}
	}
	require.Equal(t, "whsec_***", fmt.Sprint(s))
	require.Equal(t, "whsec_***", fmt.Sprintf("%#v", s))
	require.Equal(t, "***", opaque.String())
	out, err := json.Marshal(exported{Secret: s, List: []signing.Secret{opaque, {}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"Secret":"whsec_***","List":["***",""],"Any":null}`, string(out))
	text, err := s.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "whsec_***", string(text))
	require.Equal(t, "whsec_***", s.GoString())

	// An accident that would otherwise go unnoticed: a redacted secret read back.
	_, err = signing.ParseSecret(string(text))
	require.ErrorIs(t, err, signing.ErrBadSecret)
}

// Where the program's FIPS mode refuses a key, Bind says so and does not panic.
func TestShortKeyUnderFIPS(t *testing.T) {
	if os.Getenv("HOOKPOST_TEST_FIPS") == "" {
		exe, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.Command(exe, "-test.run=^TestShortKeyUnderFIPS$")
		cmd.Env = append(os.Environ(), "HOOKPOST_TEST_FIPS=1", "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return
	}
	scheme := signing.Timestamped("X-Sig")
	_, err := scheme.Bind(secret(t, "short"))
	require.ErrorIs(t, err, signing.ErrBadSecret)
	require.ErrorContains(t, err, "FIPS")
	_, err = scheme.Bind(secret(t, "long enough for FIPS"))
	require.NoError(t, err)
}
