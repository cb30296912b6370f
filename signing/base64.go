package signing

import "crypto/sha256"

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// notSextet is what sextets has for characters outside of the alphabet: a bit that
// no value has.
const notSextet = 0x80

// sextets has the values of base64's characters.
var sextets = func() (table [256]byte) {
	for c := range table {
		table[c] = notSextet
	}
	for v := range len(base64Alphabet) {
		table[base64Alphabet[v]] = byte(v)
	}
	return table
}()

// decodeBase64MAC decodes the standard base64 of a MAC, padded and canonical. It
// reports whether text is that; dst is undefined if not. Knowing the length, it is
// faster than encoding/base64, which shows when messages are small.
func decodeBase64MAC(dst *[sha256.Size]byte, text string) bool {
	if len(text) != encodedMAC {
		return false
	}
	var seen byte // all values in one
	const whole = sha256.Size / 3
	for i := range whole {
		in, out := text[4*i:4*i+4], dst[3*i:3*i+3]
		a, b, c, d := sextets[in[0]], sextets[in[1]], sextets[in[2]], sextets[in[3]]
		seen |= a | b | c | d
		out[0], out[1], out[2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
	}
	in, out := text[4*whole:], dst[3*whole:]
	a, b, c := sextets[in[0]], sextets[in[1]], sextets[in[2]]
	seen |= a | b | c
	out[0], out[1] = a<<2|b>>4, b<<4|c>>2
	const unused = 0b11 // of the last value's bits
	return seen&notSextet == 0 && c&unused == 0 && in[3] == '='
}
