package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// decodeBase64MAC accepts what encoding/base64 accepts and prints again.
func FuzzDecodeBase64MAC(f *testing.F) {
	for _, text := range macTexts() {
		f.Add(text)
	}
	f.Fuzz(sameAsStdlib)
}

func sameAsStdlib(t *testing.T, text string) {
	want, err := base64.StdEncoding.Strict().DecodeString(text)
	ok := err == nil && len(want) == sha256.Size && base64.StdEncoding.EncodeToString(want) == text
	var got [sha256.Size]byte
	require.Equal(t, ok, decodeBase64MAC(&got, text), "%q", text)
	if ok {
		require.Equal(t, want, got[:])
	}
}

// Every character in every place.
func TestDecodeBase64MAC(t *testing.T) {
	for _, good := range macTexts() {
		sameAsStdlib(t, good)
		for i := range len(good) {
			for c := range 256 {
				sameAsStdlib(t, good[:i]+string([]byte{byte(c)})+good[i+1:])
			}
			sameAsStdlib(t, good[:i]+good[i+1:])
			sameAsStdlib(t, good[:i]+"\n"+good[i:])
		}
	}
}

func macTexts() []string {
	var texts []string
	for _, b := range []byte{0x00, 0xff, 0x5a} {
		texts = append(texts, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string([]byte{b}), sha256.Size))))
	}
	sum := sha256.Sum256(nil)
	return append(texts, base64.StdEncoding.EncodeToString(sum[:]))
}
