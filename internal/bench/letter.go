package main

import (
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/hookpost/hookpost/signing"
)

// letterSizes are the lengths of the bodies that are signed and verified.
var letterSizes = []struct {
	name  string
	bytes int
}{{"256 B", 256}, {"1 KiB", 1 << 10}, {"16 KiB", 16 << 10}, {"256 KiB", 256 << 10}}

// floodSize is how long net/http lets a request's headers be by default, in bytes.
const floodSize = 1 << 20

// The headers that carry signatures.
const (
	standardHeader = "Webhook-Signature"
	stripeHeader   = "Stripe-Signature"
	gitHubHeader   = "X-Hub-Signature-256"
)

// A letter is a message and the headers that carry it in each scheme, those of
// each in a map of its own, as a receiver has them.
type letter struct {
	signing.Message
	standard, svix, stripe, gitHub http.Header

	mac     [sha256.Size]byte // of the body alone
	flooded bool              // with worthless signatures
}

// newLetter returns one whose body is an event to every library and has size bytes,
// at least 256.
func newLetter(size int) *letter {
	l := &letter{}
	l.ID, l.Type = ceilingID(0), "payment.succeeded"
	const item = `{"sku":"A-1042","quantity":2,"unit_price":4250},`
	const tail, end = `0],"note":"`, `"}}}`
	var b strings.Builder
	b.WriteString(`{"id":"` + l.ID + `","object":"event","api_version":"` + stripe.APIVersion +
		`","type":"` + l.Type + `","created_at":"2026-05-24T10:02:14Z","data":{"object":{"items":[`)
	for b.Len()+len(item)+len(tail)+len(end) <= size {
		b.WriteString(item)
	}
	b.WriteString(tail)
	b.WriteString(strings.Repeat("n", size-b.Len()-len(end)))
	b.WriteString(end)
	l.Body = []byte(b.String())
	return l
}

// sign dates the letter now: most of the libraries ask the clock.
func (l *letter) sign(lib *libraries) {
	l.Timestamp = time.Now()
	header := func(key signing.Key) http.Header {
		h := http.Header{
			"Accept-Encoding": {"gzip"}, "Content-Length": {strconv.Itoa(len(l.Body))},
			"Content-Type": {"application/json"}, "User-Agent": {"hookpost/0.1.0"},
		}
		key.SetHeaders(h, l.Message)
		return h
	}
	l.standard, l.stripe, l.gitHub = header(lib.standard), header(lib.timestamped), header(lib.gitHub)
	l.svix = l.standard.Clone()
	for _, part := range []string{"Id", "Timestamp", "Signature"} {
		l.svix["Svix-"+part] = l.svix["Webhook-"+part]
		delete(l.svix, "Webhook-"+part)
	}
	lib.hmac.Reset()
	lib.hmac.Write(l.Body)
	lib.hmac.Sum(l.mac[:0])
	if l.flooded {
		l.flood()
	}
}

// flood replaces the signatures by as many worthless ones as fit.
func (l *letter) flood() {
	fill := func(start, text string) []string {
		return []string{start + strings.Repeat(text, (floodSize-len(start))/len(text))}
	}
	l.standard[standardHeader] = fill("", "v1,x ")
	l.svix["Svix-Signature"] = l.standard[standardHeader]
	l.stripe[stripeHeader] = fill("t="+strconv.FormatInt(l.Timestamp.Unix(), 10), ",v1=00")
	l.gitHub[gitHubHeader] = fill("sha256=", "00")
}
