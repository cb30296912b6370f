package sender_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/verifier"
)

// own is marshalled by a method whose text encoding/json takes over.
type own string

func (o own) MarshalJSON() ([]byte, error) { return []byte(o), nil }

func nestedList(depth int) (v []any) {
	for range depth {
		v = []any{v}
	}
	return v
}

// What Send accepts our own verifier reads, and what it could not read Send refuses, in
// whatever way the event is given.
func TestDataIsReadable(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	object := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, c := range map[string]struct {
		event sender.Event
		field string // refused
	}{
		"array":                         {sender.Event{Data: []byte(deep(9_999))}, ""},
		"object":                        {sender.Event{Data: json.RawMessage(object(9_999))}, ""},
		"brackets in text":              {sender.Event{Data: []byte(`"` + strings.Repeat(`[{\"`, 20_000) + `"`)}, ""},
		"many brackets, not deep":       {sender.Event{Data: []byte("[" + strings.Repeat("[],", 20_000) + "[]]")}, ""},
		"value":                         {sender.Event{Data: nestedList(9_998)}, ""},
		"raw message in a value":        {sender.Event{Data: map[string]any{"a": json.RawMessage(deep(9_998))}}, ""},
		"raw body":                      {sender.Event{Body: []byte(`{"type":"a","data":` + deep(9_999) + `}`)}, ""},
		"raw body, other type":          {sender.Event{Body: []byte(deep(20_000)), ContentType: "text/plain"}, ""},
		"array too deep":                {sender.Event{Data: []byte(deep(10_000))}, "Data"},
		"array far too deep":            {sender.Event{Data: []byte(deep(100_000))}, "Data"},
		"object too deep":               {sender.Event{Data: json.RawMessage(object(10_000))}, "Data"},
		"never closed":                  {sender.Event{Data: []byte(strings.Repeat("[", 500_000))}, "Data"},
		"value too deep":                {sender.Event{Data: nestedList(10_000)}, "Data"},
		"raw message in a value, deep":  {sender.Event{Data: map[string]any{"a": json.RawMessage(deep(9_999))}}, "Data"},
		"marshaler in a value, deep":    {sender.Event{Data: []any{own(deep(9_999))}}, "Data"},
		"raw message, not UTF-8":        {sender.Event{Data: map[string]any{"a": json.RawMessage("\"\xff\"")}}, "Data"},
		"marshaler, not UTF-8":          {sender.Event{Data: own("\"\xff\"")}, "Data"},
		"raw body too deep":             {sender.Event{Body: []byte(`{"type":"a","data":` + deep(10_000) + `}`)}, "Body"},
		"raw body too deep, other JSON": {sender.Event{Body: []byte(deep(10_001)), ContentType: "application/cloudevents+json; charset=utf-8"}, "Body"},
	} {
		t.Run(name, func(t *testing.T) {
			e := c.event
			e.Type = "a"
			st := memory.New()
			hooks, err := sender.New(st, nil)
			require.NoError(t, err)
			tx := st.Begin()
			defer func() { _ = tx.Rollback() }()
			receiver := sendertest.NewTransport(sendertest.Status(204))
			client, err := sender.NewClient(&sender.ClientOptions{HTTP: sender.HTTPOptions{WrapTransport: receiver.Wrap}})
			require.NoError(t, err)
			secret := signing.NewSecret()
			target := sender.Target{URL: "https://shop.example/", Secrets: []signing.Secret{secret}}

			_, one := hooks.Send(t.Context(), e)
			_, batch := hooks.SendBatch(t.Context(), []sender.Event{e})
			_, inTx := hooks.SendTx(t.Context(), tx, e)
			_, attempt := client.Attempt(t.Context(), target, e)
			_, deliver := client.Deliver(t.Context(), target, e)
			for _, err := range []error{one, batch, inTx, attempt, deliver} {
				if c.field == "" {
					require.NoError(t, err)
					continue
				}
				var refused *sender.EventError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, c.field, refused.Field)
				require.Less(t, len(err.Error()), 300)
			}
			if c.field != "" {
				list, err := hooks.Events(t.Context(), store.EventQuery{})
				require.NoError(t, err)
				require.Empty(t, list)
				require.Empty(t, receiver.Requests())
				return
			}
			if e.ContentType != "" {
				return
			}
			v, err := verifier.New(secret.Reveal(), nil)
			require.NoError(t, err)
			got, err := v.ConstructEvent(receiver.Requests()[0].Body, receiver.Requests()[0].Header)
			require.NoError(t, err)
			require.Equal(t, "a", got.Type)
			require.NoError(t, json.Unmarshal(got.Data, new(any)))
		})
	}
}
