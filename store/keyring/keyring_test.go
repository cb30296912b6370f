package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store/keyring"
)

var (
	secret = []byte("whsec_not-a-real-one")
	owner  = []byte("acme|test|ep_1")
)

// key returns a key whose bytes are all b.
func key(tb testing.TB, id string, b byte) keyring.Key {
	tb.Helper()
	k, err := keyring.NewKey(id, bytes.Repeat([]byte{b}, 32))
	require.NoError(tb, err)
	return k
}

func ring(tb testing.TB, keys ...keyring.Key) *keyring.Ring {
	tb.Helper()
	r, err := keyring.New(keys...)
	require.NoError(tb, err)
	return r
}

func TestSealAndOpen(t *testing.T) {
	r := ring(t, key(t, "2026-11", 1))
	for _, plain := range [][]byte{nil, {}, secret, bytes.Repeat([]byte("x"), 1<<20)} {
		for _, associated := range [][]byte{nil, owner} {
			kid, sealed, err := r.Seal([]byte("before "), plain, associated)
			require.NoError(t, err)
			require.Equal(t, "2026-11", kid)
			sealed, found := bytes.CutPrefix(sealed, []byte("before "))
			require.True(t, found)
			require.Len(t, sealed, len(plain)+29)
			if len(plain) > 0 {
				require.NotContains(t, string(sealed), string(plain))
			}

			opened, err := r.Open([]byte("before "), kid, sealed, associated)
			require.NoError(t, err)
			require.Equal(t, "before "+string(plain), string(opened))
		}
	}
}

func TestSealIsNeverTheSameTwice(t *testing.T) {
	r := ring(t, key(t, "k", 1))
	_, one, err := r.Seal(nil, secret, owner)
	require.NoError(t, err)
	_, two, err := r.Seal(nil, secret, owner)
	require.NoError(t, err)
	require.NotEqual(t, one, two)
}

// The sealed form is a promise to every database that holds one.
func TestSealedFormIsStable(t *testing.T) {
	r := ring(t, key(t, "k", 1)).WithRand(strings.NewReader("twelve bytes"))
	_, sealed, err := r.Seal(nil, []byte("plain"), []byte("owner"))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(sealed, []byte("\x01twelve bytes")))
	const want = "AXR3ZWx2ZSBieXRlc9/shLAjk13GA58LSNteEI6uE8+Ezg=="
	require.Equal(t, want, base64.StdEncoding.EncodeToString(sealed))

	opened, err := ring(t, key(t, "k", 1)).Open(nil, "k", sealed, []byte("owner"))
	require.NoError(t, err)
	require.Equal(t, "plain", string(opened))
}

func TestBuffersMayOverlap(t *testing.T) {
	r := ring(t, key(t, "k", 1))
	buf := make([]byte, 64)
	plain := append(buf[:5], secret...)[5:]
	kid, sealed, err := r.Seal(buf[:3], plain, buf[2:9])
	require.NoError(t, err)
	require.Equal(t, "k", kid)
	_, err = r.Open(sealed[:3], kid, sealed[3:], nil)
	require.ErrorIs(t, err, keyring.ErrOpen)
}

func TestRotation(t *testing.T) {
	older, newer := key(t, "2026-10", 1), key(t, "2026-11", 2)
	kid, sealed, err := ring(t, older).Seal(nil, secret, owner)
	require.NoError(t, err)

	both := ring(t, newer, older)
	require.Equal(t, []string{"2026-11", "2026-10"}, both.KeyIDs())
	opened, err := both.Open(nil, kid, sealed, owner)
	require.NoError(t, err)
	require.Equal(t, secret, opened)
	kid, _, err = both.Seal(nil, secret, owner)
	require.NoError(t, err)
	require.Equal(t, "2026-11", kid)

	_, err = ring(t, newer).Open(nil, "2026-10", sealed, owner)
	require.ErrorIs(t, err, keyring.ErrUnknownKey)
	require.ErrorContains(t, err, `"2026-10"`)
	require.ErrorContains(t, err, `["2026-11"]`)
}

func TestOpenRefuses(t *testing.T) {
	r := ring(t, key(t, "k", 1), key(t, "other", 2))
	kid, sealed, err := r.Seal(nil, secret, owner)
	require.NoError(t, err)

	for i := range sealed {
		for _, bit := range []byte{1, 0x80} {
			changed := bytes.Clone(sealed)
			changed[i] ^= bit
			_, err := r.Open(nil, kid, changed, owner)
			require.ErrorIs(t, err, keyring.ErrOpen, "byte %d", i)
		}
		_, err := r.Open(nil, kid, sealed[:i], owner)
		require.ErrorIs(t, err, keyring.ErrOpen, "cut to %d bytes", i)
	}
	_, err = r.Open(nil, kid, append(bytes.Clone(sealed), 0), owner)
	require.ErrorIs(t, err, keyring.ErrOpen)

	for _, associated := range [][]byte{nil, {}, []byte("acme|live|ep_1"), append(bytes.Clone(owner), 0)} {
		opened, err := r.Open([]byte("dst"), kid, sealed, associated)
		require.ErrorIs(t, err, keyring.ErrOpen)
		require.NotErrorIs(t, err, keyring.ErrUnknownKey)
		require.Nil(t, opened)
	}
	_, err = r.Open(nil, "other", sealed, owner)
	require.ErrorIs(t, err, keyring.ErrOpen)
	_, err = ring(t, key(t, "k", 9)).Open(nil, kid, sealed, owner)
	require.ErrorIs(t, err, keyring.ErrOpen, "the right id with the wrong key")

	for _, kid := range []string{"", "K", "k ", keyring.PlaintextID, strings.Repeat("x", 10000), "a\nb"} {
		_, err := r.Open(nil, kid, sealed, owner)
		require.ErrorIs(t, err, keyring.ErrUnknownKey)
		require.Less(t, len(err.Error()), 300)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestRandomnessThatFails(t *testing.T) {
	r := ring(t, key(t, "k", 1))
	_, sealed, err := r.WithRand(strings.NewReader("short")).Seal([]byte("dst"), secret, owner)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Nil(t, sealed)
	_, _, err = r.WithRand(nil).Seal(nil, secret, owner)
	require.NoError(t, err)
}

func TestNewRefuses(t *testing.T) {
	for name, keys := range map[string][]keyring.Key{
		"no key":     nil,
		"zero key":   {key(t, "a", 1), {}},
		"same id":    {key(t, "a", 1), key(t, "b", 2), key(t, "a", 3)},
		"same twice": {key(t, "a", 1), key(t, "a", 1)},
	} {
		r, err := keyring.New(keys...)
		require.ErrorIs(t, err, keyring.ErrInvalidKey, name)
		require.Nil(t, r)
	}
	for _, r := range []*keyring.Ring{nil, {}} {
		_, _, err := r.Seal(nil, secret, owner)
		require.ErrorIs(t, err, keyring.ErrInvalidKey)
		_, err = r.Open(nil, "k", secret, owner)
		require.ErrorIs(t, err, keyring.ErrUnknownKey)
		require.Empty(t, r.KeyIDs())
		_ = fmt.Sprint(r, r.WithRand(nil))
	}
}

func TestKeysAsText(t *testing.T) {
	k, err := keyring.GenerateKey("2026-11")
	require.NoError(t, err)
	require.Equal(t, "2026-11", k.ID())
	require.Len(t, k.Reveal(), len("2026-11:")+44)
	same, err := keyring.ParseKey(" " + k.Reveal() + "\r\n")
	require.NoError(t, err)
	require.Equal(t, k.Reveal(), same.Reveal())
	other, err := keyring.GenerateKey("2026-11")
	require.NoError(t, err)
	require.NotEqual(t, k.Reveal(), other.Reveal())

	keys, err := keyring.ParseKeys(key(t, "b", 2).Reveal() + ", " + key(t, "a", 1).Reveal() + "\n")
	require.NoError(t, err)
	require.Equal(t, []string{"b", "a"}, ring(t, keys...).KeyIDs())

	b := bytes.Repeat([]byte{1}, 32)
	copied, err := keyring.NewKey("k", b)
	require.NoError(t, err)
	b[0] = 9
	require.Equal(t, key(t, "k", 1).Reveal(), copied.Reveal(), "NewKey copies")

	require.Empty(t, keyring.Key{}.ID())
	require.Empty(t, keyring.Key{}.Reveal())
}

func TestInvalidKeys(t *testing.T) {
	zeros := base64.StdEncoding.EncodeToString(make([]byte, 32))
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32))
	for name, text := range map[string]string{
		"empty":         "",
		"no colon":      good,
		"no id":         ":" + good,
		"swapped":       good + ":id",
		"reserved id":   "plaintext:" + good,
		"long id":       strings.Repeat("x", 65) + ":" + good,
		"space in id":   "a b:" + good,
		"not base64":    "id:" + good[:43] + "!",
		"url-safe":      "id:" + strings.ReplaceAll(good, "+", "-"),
		"no padding":    "id:" + strings.TrimRight(good, "="),
		"31 bytes":      "id:" + base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"33 bytes":      "id:" + base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"nothing after": "id:",
		"loose bits":    "id:" + good[:42] + "t=",

		"swapped, url-safe":     strings.ReplaceAll(good[:43], "+", "-") + ":id",
		"swapped, no padding":   zeros[:43] + ":id",
		"swapped, short base64": zeros[:43] + ":2026",
		"swapped, hexadecimal":  hex.EncodeToString(make([]byte, 32)) + ":id",
		"two keys":              zeros[:43] + ":" + good[:43],
		"an id that is a key":   zeros[:43] + ":" + base64.StdEncoding.EncodeToString(make([]byte, 31)),
	} {
		k, err := keyring.ParseKey(text)
		require.ErrorIs(t, err, keyring.ErrInvalidKey, name)
		require.Zero(t, k)
		for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ':' || r == '+' || r == '/' || r == '=' }) {
			if len(part) > 8 && part != "plaintext" {
				require.NotContains(t, err.Error(), part[:8], name)
			}
		}
		_, err = keyring.ParseKeys("ok:" + good + "," + text)
		require.ErrorIs(t, err, keyring.ErrInvalidKey, name)
		require.ErrorContains(t, err, "key 2", name)
		require.NotContains(t, err.Error(), good[:20], name)
	}
}

func TestTextWithoutKeys(t *testing.T) {
	for _, text := range []string{"", " ", "\n"} {
		_, err := keyring.ParseKey(text)
		require.ErrorIs(t, err, keyring.ErrInvalidKey)
		require.ErrorContains(t, err, "is the environment variable set")
		_, err = keyring.ParseKeys(text)
		require.ErrorIs(t, err, keyring.ErrInvalidKey)
		require.ErrorContains(t, err, "is the environment variable set")
	}
	good := key(t, "a", 1).Reveal()
	for _, text := range []string{good + ",", "," + good, good + ",,"} {
		_, err := keyring.ParseKeys(text)
		require.ErrorIs(t, err, keyring.ErrInvalidKey)
		require.ErrorContains(t, err, "of the list")
	}
}

// The arguments of NewKey can be swapped as well.
func TestNewKeyRepeatsNothing(t *testing.T) {
	_, err := keyring.NewKey(strings.Repeat("k", 32), []byte("2026-11"))
	require.ErrorIs(t, err, keyring.ErrInvalidKey)
	require.NotContains(t, err.Error(), "kkk")
	require.NotContains(t, err.Error(), "2026")
}

func TestKeysNeverPrint(t *testing.T) {
	k := key(t, "2026-11", 0xc3)
	material := bytes.Repeat([]byte{0xc3}, 32)
	shown := []string{string(material), base64.StdEncoding.EncodeToString(material)[:10], "c3c3c3", "C3C3C3", "195 195", "0xc3, 0xc3", `\xc3\xc3`, "3284386755"}
	type hidden struct{ key keyring.Key }
	type open struct {
		Key  keyring.Key
		Ring *keyring.Ring
	}
	r := ring(t, k)

	var out strings.Builder
	for _, v := range []any{k, &k, []keyring.Key{k}, map[string]keyring.Key{"k": k}, hidden{k}, &hidden{k}, open{k, r}, r, *r, []*keyring.Ring{r}, keyring.Migrate(r, r), struct{ s keyring.Sealer }{r}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%#x", "% x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(h).Info("key", "v", v, slog.Group("g", "v", v))
		}
		js, err := json.Marshal(v)
		require.NoError(t, err)
		out.Write(js)
		fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", v))
	}
	for _, s := range shown {
		require.False(t, strings.Contains(out.String(), s), s)
	}
	require.Equal(t, "2026-11:[redacted]", fmt.Sprintf("%#v", k))
	require.Equal(t, "[no key]", keyring.Key{}.String())
	require.Equal(t, "keyring.Ring(2026-11)", fmt.Sprintf("%+v", r))
}

func TestPlaintext(t *testing.T) {
	kid, sealed, err := keyring.Plaintext.Seal([]byte("a"), []byte("b"), owner)
	require.NoError(t, err)
	require.Equal(t, keyring.PlaintextID, kid)
	require.Equal(t, "ab", string(sealed))
	opened, err := keyring.Plaintext.Open([]byte("a"), kid, []byte("b"), nil)
	require.NoError(t, err)
	require.Equal(t, "ab", string(opened))

	for _, kid := range []string{"", "2026-11"} {
		_, err = keyring.Plaintext.Open(nil, kid, []byte("ciphertext"), nil)
		require.ErrorIs(t, err, keyring.ErrUnknownKey)
		require.NotContains(t, err.Error(), "ciphertext")
	}
}

func TestMigrate(t *testing.T) {
	_, plain, err := keyring.Plaintext.Seal(nil, secret, owner)
	require.NoError(t, err)
	r, older := ring(t, key(t, "new", 1)), ring(t, key(t, "old", 2))
	s := keyring.Migrate(r, older, keyring.Plaintext)

	kid, sealed, err := s.Seal(nil, secret, owner)
	require.NoError(t, err)
	require.Equal(t, "new", kid)
	_, oldSealed, err := older.Seal(nil, secret, owner)
	require.NoError(t, err)
	for kid, sealed := range map[string][]byte{"new": sealed, "old": oldSealed, keyring.PlaintextID: plain} {
		opened, err := s.Open(nil, kid, sealed, owner)
		require.NoError(t, err)
		require.Equal(t, secret, opened)
	}

	_, err = s.Open(nil, "new", oldSealed, owner)
	require.ErrorIs(t, err, keyring.ErrOpen, "a value of a known key is not tried elsewhere")
	_, err = s.Open(nil, "lost", sealed, owner)
	require.ErrorIs(t, err, keyring.ErrUnknownKey)
	require.ErrorContains(t, err, `["new"]`, "the current Sealer's error is the one to read")
	require.Same(t, r, keyring.Migrate(r))
}

func TestConcurrentUse(t *testing.T) {
	r := ring(t, key(t, "a", 1), key(t, "b", 2))
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			for range 200 {
				kid, sealed, err := r.Seal(nil, secret, owner)
				if err == nil {
					var opened []byte
					opened, err = r.Open(nil, kid, sealed, owner)
					if err == nil && !bytes.Equal(opened, secret) {
						err = errors.New("opened another value")
					}
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	require.NoError(t, <-failed)
}

func FuzzOpen(f *testing.F) {
	// A key of this process's own: fuzzing workers share what they find, and each
	// has sealed something that the others' key must not open.
	k, err := keyring.GenerateKey("k")
	require.NoError(f, err)
	r := ring(f, k)
	_, good, err := r.Seal(nil, secret, owner)
	require.NoError(f, err)
	f.Add("k", good[:len(good)-1], owner)
	f.Add("k", []byte{1}, []byte(nil))
	f.Add("", []byte(nil), owner)
	f.Add("x", good, owner)
	f.Fuzz(func(t *testing.T, kid string, sealed, associated []byte) {
		opened, err := r.Open(nil, kid, sealed, associated)
		switch {
		case err == nil:
			require.Equal(t, good, sealed, "only what was sealed can be opened")
			require.Equal(t, secret, opened)
		case kid == "k":
			require.ErrorIs(t, err, keyring.ErrOpen)
		default:
			require.ErrorIs(t, err, keyring.ErrUnknownKey)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(key(f, "a", 1).Reveal() + "," + key(f, "b", 2).Reveal())
	f.Add("a:,:b")
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := keyring.ParseKeys(s)
		if err != nil {
			require.ErrorIs(t, err, keyring.ErrInvalidKey)
			return
		}
		for _, k := range keys {
			again, err := keyring.ParseKey(k.Reveal())
			require.NoError(t, err)
			require.Equal(t, k.Reveal(), again.Reveal())
		}
	})
}
