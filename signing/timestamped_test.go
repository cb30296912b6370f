package signing_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

func TestTimestampedRoundTrip(t *testing.T) {
	scheme := signing.Timestamped("x-xtopay-signature")
	require.Equal(t, "timestamped:X-Xtopay-Signature", scheme.Name())
	newer, older := secret(t, "whsec_test_secret"), secret(t, "any opaque text")
	key := bind(t, scheme, newer, older)
	m := signing.Message{Timestamp: now, Body: []byte("body")}
	h := http.Header{"x-xtopay-signature": {"left over"}}
	key.SetHeaders(h, m)
	require.Len(t, h, 1)
	require.Regexp(t, `^t=1700000000,v1=[0-9a-f]{64},v1=[0-9a-f]{64}$`, h.Get("x-xtopay-signature"))
	require.Equal(t, []string{"X-Xtopay-Signature"}, signing.HeaderNames(key))

	for _, s := range []signing.Secret{newer, older} {
		got, err := bind(t, scheme, s).Verify(h, m.Body, now, signing.Limits{})
		require.NoError(t, err)
		require.Equal(t, signing.Message{Timestamp: now.UTC(), Body: m.Body, Signed: signing.Coverage{Time: true}}, got)
	}
	_, err := bind(t, scheme, secret(t, "test_secret")).Verify(h, m.Body, now, signing.Limits{})
	require.ErrorIs(t, err, signing.ErrNoMatch, "the prefix is a part of the key")

	m.Timestamp = m.Timestamp.AddDate(-100, 0, 0)
	require.Empty(t, key.AppendSignature(nil, m))
	key.SetHeaders(h, m)
	require.Empty(t, h)
}

func TestTimestampedVerify(t *testing.T) {
	key := bind(t, signing.Timestamped("X-Sig"), secret(t, "opaque"))
	m := signing.Message{Timestamp: now, Body: []byte("body")}
	good := string(key.AppendSignature(nil, m))
	mac := good[len("t=1700000000,"):]
	wrong := "v1=" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name   string
		value  string
		limits signing.Limits
		want   error
	}{
		{"good", good, signing.Limits{}, nil},
		{"time last", mac + ",t=1700000000", signing.Limits{}, nil},
		{"upper-case hex", "t=1700000000,v1=" + strings.ToUpper(mac[3:]), signing.Limits{}, nil},
		{"last of ten", "t=1700000000," + strings.Repeat(wrong+",", 9) + mac, signing.Limits{}, nil},
		{"last of eleven", "t=1700000000," + strings.Repeat(wrong+",", 10) + mac, signing.Limits{}, signing.ErrMalformed},
		{"last of eleven allowed", "t=1700000000," + strings.Repeat(wrong+",", 10) + mac, signing.Limits{MaxSignatures: -1}, nil},
		{"too long", good + ",x=" + strings.Repeat("x", 4<<10), signing.Limits{}, signing.ErrMalformed},
		{"no time", mac, signing.Limits{Tolerance: -1}, signing.ErrMalformed},
		{"two times", good + ",t=1700000000", signing.Limits{}, signing.ErrMalformed},
		{"leading zero", "t=01700000000," + mac, signing.Limits{}, signing.ErrMalformed},
		{"negative", "t=-1," + mac, signing.Limits{}, signing.ErrMalformed},
		{"end of int64", "t=9223372036854775807," + mac, signing.Limits{}, signing.ErrTooNew},
		{"end of int64, any time allowed", "t=9223372036854775807," + mac, signing.Limits{Tolerance: -1}, signing.ErrTooNew},
		{"over int64", "t=9223372036854775808," + mac, signing.Limits{}, signing.ErrMalformed},
		{"far over int64", "t=9999999999999999999," + mac, signing.Limits{}, signing.ErrMalformed},
		// Lists have optional white space and empty elements (RFC 9110, 5.6.1).
		{"space behind commas", "t=1700000000, " + mac, signing.Limits{}, nil},
		{"space before commas", "t=1700000000 ," + mac, signing.Limits{}, nil},
		{"tabs and spaces", "\tt=1700000000 \t , \t " + mac + " \t", signing.Limits{}, nil},
		{"empty elements", ",, t=1700000000, ,\t,," + mac + " , ,", signing.Limits{}, nil},
		{"trailing comma", good + ",", signing.Limits{}, nil},
		{"leading comma", "," + good, signing.Limits{}, nil},
		{"empty elements count as no signatures", good + strings.Repeat(",", 100), signing.Limits{}, nil},
		{"too many empty elements for the length", good + strings.Repeat(",", 4<<10), signing.Limits{}, signing.ErrMalformed},
		{"nothing but empty elements", " ,\t,, ", signing.Limits{}, signing.ErrMalformed},
		{"space before the equals sign of the time", "t =1700000000," + mac, signing.Limits{}, signing.ErrMalformed},
		{"space behind the equals sign of the time", "t= 1700000000," + mac, signing.Limits{}, signing.ErrMalformed},
		{"space before the equals sign of a signature", "t=1700000000,v1 =" + mac[3:], signing.Limits{}, signing.ErrUnknownVersion},
		{"space behind the equals sign of a signature", "t=1700000000,v1= " + mac[3:], signing.Limits{}, signing.ErrNoMatch},
		{"space within a signature", "t=1700000000," + mac[:20] + " " + mac[20:], signing.Limits{}, signing.ErrNoMatch},
		{"no comma", "t=1700000000 " + mac, signing.Limits{}, signing.ErrMalformed},
		{"semicolon", "t=1700000000; " + mac, signing.Limits{}, signing.ErrMalformed},
		{"line feed", "t=1700000000,\n" + mac, signing.Limits{}, signing.ErrUnknownVersion},
		{"carriage return", "t=1700000000\r," + mac, signing.Limits{}, signing.ErrMalformed},
		{"vertical tab", "t=1700000000,\v" + mac, signing.Limits{}, signing.ErrUnknownVersion},
		{"form feed", good + "\f", signing.Limits{}, signing.ErrNoMatch},
		{"no-break space", "t=1700000000,\u00a0" + mac, signing.Limits{}, signing.ErrUnknownVersion},
		{"an element without an equals sign", good + ", x", signing.Limits{}, signing.ErrMalformed},
		{"two times with space", good + ", t=1700000000", signing.Limits{}, signing.ErrMalformed},
		{"no version 1", "t=1700000000,v0=" + mac[3:], signing.Limits{}, signing.ErrUnknownVersion},
		{"short", good[:len(good)-2], signing.Limits{}, signing.ErrNoMatch},
		{"empty", "", signing.Limits{}, signing.ErrMissingHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := key.Verify(http.Header{"X-Sig": {c.value}}, m.Body, now, c.limits)
			require.ErrorIs(t, err, c.want)
			if err != nil {
				require.NotContains(t, err.Error(), mac[3:])
			}
		})
	}
	_, err := key.Verify(http.Header{"X-Sig": {good, good}}, m.Body, now, signing.Limits{})
	require.ErrorIs(t, err, signing.ErrMalformed)
	_, err = key.Verify(http.Header{}, m.Body, now, signing.Limits{})
	require.ErrorIs(t, err, signing.ErrMissingHeader)
	require.ErrorContains(t, err, "X-Sig")
}

func TestTimestampedHeaderName(t *testing.T) {
	for _, name := range []string{"", "two words", "X-Sig:", "X\r\nY", "é"} {
		_, err := signing.Timestamped(name).Bind(signing.NewSecret())
		require.ErrorIs(t, err, signing.ErrBadHeaderName, name)
	}
}
