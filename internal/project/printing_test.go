package project

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/verifier"
)

// records are the exported structs that say something: what applications and their
// hooks log. A new one needs a line here, or in opaque.
var records = []any{
	store.Activity{},
	store.Attempt{},
	store.Backlog{},
	store.BacklogQuery{},
	store.Change{},
	store.ChangeParams{},
	store.ClaimParams{},
	store.Claimed{},
	store.Claims{},
	store.Config{},
	store.Delivery{},
	store.DeliveryQuery{},
	store.Endpoint{},
	store.EndpointKey{},
	store.EndpointQuery{},
	store.EndpointSet{},
	store.EnqueueParams{},
	store.Enqueued{},
	store.EraseParams{},
	store.Erased{},
	store.Event{},
	store.EventQuery{},
	store.FailingRule{},
	store.Health{},
	store.NewDelivery{},
	store.NewEvent{},
	store.Promoted{},
	store.RecoverParams{},
	store.Recovered{},
	store.ReplayParams{},
	store.Resealed{},
	store.Retention{},
	store.Scope{},
	store.Sealed{},
	store.SealedHeader{},
	store.SealedSecret{},
	store.SealedValue{},
	store.Settled{},
	store.Settlement{},
	store.Undelivered{},
	store.UndeliveredQuery{},

	sender.AttemptEnd{},
	sender.AttemptStart{},
	sender.BackFillReport{},
	sender.ClaimEnd{},
	sender.Counters{},
	sender.Egress{},
	sender.EndpointDisabled{},
	sender.EndpointEdit{},
	sender.EndpointRecovered{},
	sender.EndpointSpec{},
	sender.EndpointStats{},
	sender.EraseReport{},
	sender.Erasure{},
	sender.Event{},
	sender.EventType{},
	sender.Exhaustion{},
	sender.Explanation{},
	sender.HTTPOptions{},
	sender.Options{},
	sender.ClientOptions{},
	sender.Missed{},
	sender.Receipt{},
	sender.RecoverReport{},
	sender.Recovery{},
	sender.Rotation{},
	sender.SendEnd{},
	sender.SendStart{},
	sender.SettleEnd{},
	sender.Stats{},
	sender.StoreEnd{},
	sender.Tally{},
	sender.Target{},
	sender.Undelivered{},
	sender.UndeliveredPage{},

	dashboard.Access{},
	dashboard.Account{},
	retry.Failure{},
	sendertest.Answer{},
	sendertest.Request{},
	signing.Coverage{},
	signing.Limits{},
	signing.Message{},
	verifier.Event{},
	verifier.Options{},
}

// opaque are exported structs that print as one word, or that nobody prints: the
// packages that hold records, and the names in them.
var opaque = map[string]string{
	"store":             "Count DeliveryID",
	"sender":            "AttemptError BatchError Client EndpointError EventError HeaderValue Hooks Observer Sender Tenant URLError",
	"dashboard":         "Dashboard Options",
	"retry":             "StepSchedule",
	"sender/sendertest": "Receiver Transport",
	"signing":           "Secret",
	"verifier":          "Mux MuxOptions Verifier",
}

func TestEveryRecordIsInTheTableOfPrinting(t *testing.T) {
	known := map[string]bool{}
	for _, r := range records {
		known[reflect.TypeOf(r).PkgPath()+"."+reflect.TypeOf(r).Name()] = true
	}
	for _, f := range sources(t, parser.SkipObjectResolution) {
		names, listed := opaque[f.dir]
		if f.test() || !listed {
			continue
		}
		for _, decl := range f.syn.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				typ := spec.(*ast.TypeSpec)
				if _, isStruct := typ.Type.(*ast.StructType); !isStruct || !typ.Name.IsExported() || slices.Contains(strings.Fields(names), typ.Name.Name) {
					continue
				}
				require.True(t, known[modulePath+"/"+f.dir+"."+typ.Name.Name], "%s.%s is in neither table", f.dir, typ.Name)
			}
		}
	}
}

// hunted stands in every place for secrets.
const hunted = "hunter2hunter2"

// filler gives every field that it can reach a value of its own.
type filler struct {
	n     int
	marks []string // what a text has to show
}

func (f *filler) fill(v reflect.Value, name string) {
	f.n++
	switch at := v.Addr().Interface().(type) {
	case *signing.Secret:
		secret, err := signing.ParseSecret(hunted)
		if err != nil {
			panic(err)
		}
		*at = secret
		return
	case *sender.Headers:
		*at = sender.Headers{"X-A": sender.Value(hunted)}
		f.marks = append(f.marks, "X-A")
		return
	case *store.Ciphertext:
		*at = store.Ciphertext("ciphertext") // no secret, and its JSON is what stores keep
		f.marks = append(f.marks, "[10 bytes]")
		return
	case *url.URL:
		*at = url.URL{Scheme: "http", Host: "proxy.example", User: url.UserPassword("ann", hunted)}
		f.marks = append(f.marks, "http://ann:xxxxx@proxy.example")
		return
	case *time.Time:
		*at = time.Date(2100+f.n, 1, 1, 0, 0, 0, 0, time.UTC)
		f.marks = append(f.marks, at.Format(time.DateOnly))
		return
	case *store.Mode:
		*at = store.Test
		f.marks = append(f.marks, "test")
		return
	case *store.DeliveryID:
		*at = store.DeliveryID{Event: int64(f.n), Endpoint: 1}
		f.marks = append(f.marks, at.String())
		return
	}
	if v.Type().PkgPath() == "crypto/tls" || v.Type().PkgPath() == "log/slog" {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s-%d", name, f.n))
		f.marks = append(f.marks, v.String())
	case reflect.Int, reflect.Int64:
		if !v.Type().ConvertibleTo(reflect.TypeFor[fmt.Stringer]()) {
			v.SetInt(int64(700_000 + f.n))
			f.marks = append(f.marks, fmt.Sprint(v.Int()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i), v.Type().Field(i).Name)
			}
		}
	case reflect.Pointer:
		if marks := f.marks; v.Type().Elem().PkgPath() != "crypto/tls" && v.Type().Elem().PkgPath() != "log/slog" {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), name)
			if v.Type().Elem() != reflect.TypeFor[url.URL]() {
				f.marks = marks // fmt prints where it is, not what
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			f.fill(v.Index(0), name)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			value := reflect.New(v.Type().Elem()).Elem()
			f.fill(value, name)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("key-of-"+name).Convert(v.Type().Key()), value)
		}
	}
}

// A hook that logs its argument logs something, and no secret.
func TestRecordsPrintTheirFieldsAndNoSecret(t *testing.T) {
	for _, r := range records {
		t.Run(reflect.TypeOf(r).String(), func(t *testing.T) {
			var f filler
			v := reflect.New(reflect.TypeOf(r)).Elem()
			v.Set(reflect.ValueOf(r))
			f.fill(v, "field")
			value := v.Interface()

			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", value)
			for how, text := range map[string]string{
				"%v": fmt.Sprintf("%v", value), "%+v": fmt.Sprintf("%+v", value), "text handler": out.String(),
				"pointer": fmt.Sprintf("%v", v.Addr().Interface()), "slice": fmt.Sprintf("%v", []any{value}),
			} {
				for _, mark := range f.marks {
					require.True(t, strings.Contains(text, mark), "%s: no %s in %.2000s", how, mark, text)
				}
			}

			slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", value)
			nested := []any{
				value, v.Addr().Interface(),
				[]any{value},
				map[string]any{"a": value},
				struct{ V any }{value},
				[]any{v.Addr().Interface()},
				map[string]any{"a": v.Addr().Interface()},
				struct{ V any }{v.Addr().Interface()},
			}
			for _, n := range nested {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
					fmt.Fprintf(&out, verb+"\n", n)
				}
				if text, err := json.Marshal(n); err == nil {
					out.Write(text)
				}
			}
			if _, moved := value.(sender.Egress); !moved { // gob is how net/url moves its URLs whole
				_ = gob.NewEncoder(&out).Encode(value) // what can't be encoded shows nothing
			}
			for _, secret := range []string{hunted, fmt.Sprintf("%x", hunted), fmt.Sprintf("%X", hunted), fmt.Sprintf("%d", []byte(hunted))} {
				before, _, shown := strings.Cut(out.String(), secret)
				require.False(t, shown, "behind %s", before[max(0, len(before)-300):])
			}
		})
	}
}
