package sender

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/hookpost/hookpost/store"
)

const (
	redacted = "***"
	// minRedacted is the shortest text that is taken out. What is shorter is no
	// secret, and would be found everywhere.
	minRedacted = 4
	// minWord is that for a part of a header's value, such as what follows Bearer.
	minWord = 8
)

// redactor takes secrets out of what a receiver answered before it is logged: some
// receivers echo the request, or show their configuration when they fail. It finds
// a text as it is and as JSON or a URL would have it, not if the receiver made
// something else of it.
type redactor struct {
	needles [][]byte // longest first
}

func newRedactor(o *opened) *redactor {
	r := &redactor{}
	if o == nil {
		return r
	}
	var texts []string
	add := func(text string, least int) {
		if len(text) < least {
			return
		}
		texts = append(texts, text, jsonText(text, true), jsonText(text, false), url.QueryEscape(text), url.PathEscape(text))
	}
	for _, s := range o.secrets {
		add(s.Reveal(), minRedacted)
		for _, prefix := range [...]string{"whsec_", "whsk_"} { // which receivers often cut off
			if key, ok := strings.CutPrefix(s.Reveal(), prefix); ok {
				add(key, minWord)
			}
		}
	}
	for _, h := range o.headers {
		add(h.value, minRedacted)
		for word := range strings.FieldsSeq(h.value) {
			add(word, minWord)
		}
		if scheme, credentials, _ := strings.Cut(h.value, " "); strings.EqualFold(scheme, "Basic") {
			if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
				_, password, _ := strings.Cut(string(pair), ":")
				add(string(pair), minRedacted)
				add(password, minRedacted)
			}
		}
	}
	slices.SortFunc(texts, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	for _, text := range slices.Compact(texts) {
		r.needles = append(r.needles, []byte(text))
	}
	return r
}

// jsonText returns what stands between the quotes where text is in JSON, as the
// encoders write it that escape <, > and & or that do not.
func jsonText(text string, escapeHTML bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	_ = enc.Encode(text) // strings are never refused
	return strings.TrimSuffix(b.String(), "\"\n")[1:]
}

// attempt redacts what an attempt has of the receiver's answer.
func (r *redactor) attempt(a *store.Attempt) {
	a.ResponseHeader = r.text(a.ResponseHeader)
	a.ResponseBody = r.tail(r.text(a.ResponseBody))
	if a.Error != "" {
		said, cut := strings.CutSuffix(a.Error, "…")
		text := r.text([]byte(said))
		if cut {
			text = append(r.tail(text), "…"...)
		}
		a.Error = string(text)
	}
}

func (r *redactor) text(b []byte) []byte {
	for _, needle := range r.needles {
		if bytes.Contains(b, needle) {
			b = bytes.ReplaceAll(b, needle, []byte(redacted)) // which is no longer than any needle
		}
	}
	return b
}

// tail redacts the beginning of a secret at the end of what may have been cut off.
func (r *redactor) tail(b []byte) []byte {
	for _, needle := range r.needles {
		for n := min(len(needle), len(b)); n >= minRedacted; n-- {
			if bytes.HasSuffix(b, needle[:n]) {
				return append(slices.Clone(b[:len(b)-n]), redacted...)
			}
		}
	}
	return b
}
