package signing

import "net/http"

// A headerSet names the three headers of one spelling of the protocol.
type headerSet struct{ id, timestamp, signature string }

var (
	webhookHeaders = headerSet{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}
	svixHeaders    = headerSet{"Svix-Id", "Svix-Timestamp", "Svix-Signature"}

	errNoWebhookID        = missing("webhook-id")
	errNoWebhookTimestamp = missing("webhook-timestamp")
	errNoWebhookSignature = missing("webhook-signature")
)

// read returns the three values, "" for those missing.
func (set *headerSet) read(h http.Header) (v headerSet, err error) {
	if v.id, err = header(h, set.id); err != nil {
		return v, err
	}
	if v.timestamp, err = header(h, set.timestamp); err != nil {
		return v, err
	}
	v.signature, err = header(h, set.signature)
	return v, err
}

func (set *headerSet) complete() bool {
	return set.id != "" && set.timestamp != "" && set.signature != ""
}

// standardHeaders picks the set of headers that will be verified.
func standardHeaders(h http.Header) (headerSet, error) {
	in, err := webhookHeaders.read(h)
	if err != nil || in.complete() {
		return in, err
	}
	svix, err := svixHeaders.read(h)
	switch {
	case err != nil:
		return svix, err
	case svix.complete():
		return svix, nil
	case in.id == "":
		return in, errNoWebhookID
	case in.timestamp == "":
		return in, errNoWebhookTimestamp
	}
	return in, errNoWebhookSignature
}
