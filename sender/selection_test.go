package sender

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelection(t *testing.T) {
	for _, tc := range []struct {
		patterns string
		yes, no  string
	}{
		{"*", "push payment.succeeded a.b.c", "webhook.test"},
		{"payment.*", "payment.x payment.x.y", "payment payments.x refund.created xpayment.y"},
		{"payment.succeeded", "payment.succeeded", "payment payment.succeeded.x payment.failed"},
		{"a.b.* push", "a.b.c push", "a.b a.c push.x"},
		{"webhook", "webhook", "webhook.test"},
		{"push push", "push", "pull"},
	} {
		patterns := strings.Fields(tc.patterns)
		require.NoError(t, validSelection(patterns))
		s := newSelection(patterns)
		for _, typ := range strings.Fields(tc.yes) {
			require.True(t, s.matches(typ), "%s selects %s", tc.patterns, typ)
		}
		for _, typ := range strings.Fields(tc.no) {
			require.False(t, s.matches(typ), "%s selects %s", tc.patterns, typ)
		}
	}
}

func TestSelectionRefused(t *testing.T) {
	for name, patterns := range map[string][]string{
		"nil":             nil,
		"empty":           {},
		"empty pattern":   {""},
		"star inside":     {"a.*.b"},
		"star in a word":  {"pay*"},
		"only stop star":  {".*"},
		"two stars":       {"*.*"},
		"space":           {"payment succeeded"},
		"reserved":        {"webhook.test"},
		"reserved prefix": {"webhook.*"},
		"second is bad":   {"push", "a..b"},
		"too many":        make([]string, maxSelection+1),
	} {
		require.ErrorIs(t, validSelection(patterns), ErrInvalidSelection, name)
	}
}
