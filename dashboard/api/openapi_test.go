package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
)

// What the document says and what the handler does are the same operations with the
// same parameters.
func TestOperationsAreThoseDocumented(t *testing.T) {
	d := readDocument(t)
	require.Equal(t, "3.1.0", d.OpenAPI)
	inCode, ids := map[string]bool{}, map[string]bool{}
	for _, op := range operations {
		inCode[op.method+" "+op.path] = true
		doc := d.Paths[op.path].operation(op.method)
		require.NotNil(t, doc, "%s %s is not documented", op.method, op.path)
		require.False(t, ids[doc.ID], doc.ID)
		ids[doc.ID] = true
		require.NotEmpty(t, doc.Summary)
		right := ""
		for _, r := range rightNames {
			if desk.Right(r.right) == op.right {
				right = r.name
			}
		}
		require.Equal(t, right, doc.Right, doc.ID)
		require.NotEqual(t, op.method == http.MethodGet, right != "", "a change needs a right: %s", doc.ID)
		var query []string
		for _, r := range doc.Parameters {
			p := d.parameter(r)
			require.Equal(t, "query", p.In, "%s: %s", doc.ID, r.Ref)
			query = append(query, p.Name)
		}
		require.ElementsMatch(t, op.query, query, doc.ID)
		var inPath []string
		for _, r := range d.Paths[op.path].Parameters {
			p := d.parameter(r)
			require.Equal(t, "path", p.In, r.Ref)
			inPath = append(inPath, "{"+p.Name+"}")
		}
		require.ElementsMatch(t, regexp.MustCompile(`{\w+}`).FindAllString(op.path, -1), inPath, doc.ID)
		require.Contains(t, doc.Responses, "default", doc.ID)
	}
	for path, item := range d.Paths {
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
			if item.operation(method) != nil {
				require.True(t, inCode[method+" "+path], "%s %s is documented and not there", method, path)
			}
		}
	}
	// Nothing else stands in the file: no other method, no component without use.
	var raw struct {
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(openAPI, &raw))
	for path, item := range raw.Paths {
		for key := range item {
			require.Contains(t, []string{"parameters", "get", "post", "patch", "delete"}, key, path)
		}
	}
	for _, ref := range regexp.MustCompile(`"#/components/[^"]+"`).FindAllString(string(openAPI), -1) {
		parts := strings.Split(strings.Trim(ref, `"`), "/")
		name := parts[3]
		switch parts[2] {
		case "schemas":
			require.Contains(t, d.Components.Schemas, name)
		case "parameters":
			require.Contains(t, d.Components.Parameters, name)
		default:
			require.Contains(t, d.Components.Responses, name)
		}
	}
	for name := range d.Components.Schemas {
		require.Contains(t, string(openAPI), `"#/components/schemas/`+name+`"`)
	}
	for name := range d.Components.Parameters {
		require.Contains(t, string(openAPI), `"#/components/parameters/`+name+`"`)
	}
}

// Bodies have the fields that are documented, of the documented types.
func TestRequestsAreThoseDocumented(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		faults := func(op operation, body string) []fault {
			a := w.do(op.method, own.pathOf(op.path, "test~acme"), body)
			if a.Status != http.StatusUnprocessableEntity {
				return nil
			}
			return a.problem(w).Errors
		}
		bodies := 0
		for _, op := range operations {
			s := w.doc.body(w.doc.Paths[op.path].operation(op.method))
			if s == nil {
				continue
			}
			bodies++
			var names []string
			var wrong []string
			for name, property := range s.Properties {
				names = append(names, name)
				right := map[string]string{"string": `"x"`, "array": `["x"]`, "boolean": "true", "integer": "1"}[w.doc.resolve(property).Type]
				if property.Format == "date-time" {
					right = `"2026-05-24T10:02:14+02:00"`
				}
				require.NotEmpty(w, right, name)
				for _, f := range faults(op, fmt.Sprintf("{%q: %s}", name, right)) {
					require.False(w, f.Pointer == "#/"+name && strings.HasPrefix(f.Detail, "is not a "), "%s: %v", op.path, f)
				}
				wrong = append(wrong, fmt.Sprintf("%q: {}", name))
			}
			slices.Sort(names)
			list := "there are none"
			if len(names) > 0 {
				list = "the fields are " + strings.Join(names, ", ")
			}
			require.Contains(w, faults(op, `{"Unknown": 1}`), fault{Pointer: "#/Unknown", Detail: "is not a field here; " + list}, op.path)
			require.Len(w, faults(op, "{"+strings.Join(wrong, ",")+"}"), len(names))
			var missing []string
			for _, f := range faults(op, "{}") {
				if strings.HasPrefix(f.Detail, "is missing") {
					missing = append(missing, strings.TrimPrefix(f.Pointer, "#/"))
				}
			}
			require.ElementsMatch(w, s.Required, missing, op.path)
		}
		require.Greater(w, bodies, 8)
	})
}

// Every operation is carried out, and its answer is as documented; world.do sees to
// that.
func TestEveryOperation(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		created := w.must("POST", account+"/endpoints", `{"url": "https://one.example.com", "event_types": ["payment.*"], "description": "One"}`)
		id := created["endpoint"].(map[string]any)["id"].(string)
		endpoint := account + "/endpoints/" + id
		w.must("GET", endpoint, "")
		w.must("PATCH", endpoint, `{"description": "The first"}`)
		w.must("POST", endpoint+"/disable", `{"reason": "works"}`)
		w.must("POST", endpoint+"/enable", "")
		w.must("GET", account+"/endpoints", "")
		synctest.Wait()
		delivery := account + "/deliveries/" + w.must("POST", endpoint+"/test", "")["id"].(string)
		synctest.Wait()
		require.Equal(w, "delivered", w.must("GET", delivery, "")["state"])
		event := w.send(sender.Event{Type: "payment.succeeded", Data: 1, Refs: []string{"pay_1"}})
		w.must("GET", account+"/events", "")
		w.must("GET", account+"/events/"+event, "")
		require.Equal(w, http.StatusOK, w.do("GET", account+"/events/"+event+"/body", "").Status)
		w.must("GET", account+"/events/"+event+"/explain?endpoint_id="+id, "")
		w.must("POST", endpoint+"/rotate", "{}")
		secrets := w.must("GET", endpoint, "")["secrets"].([]any)
		w.must("DELETE", endpoint+"/secrets/"+secrets[1].(map[string]any)["id"].(string), "")
		w.must("GET", endpoint+"/history", "")
		w.must("GET", endpoint+"/activity", "")
		w.must("GET", account+"/deliveries", "")
		w.must("GET", delivery+"/attempts", "")
		w.must("GET", delivery+"/explain", "")
		w.must("POST", account+"/recoveries/dry-run", "{}")
		recovery := account + "/recoveries/" + w.must("POST", account+"/recoveries", "{}")["id"].(string)
		w.must("GET", account+"/recoveries", "")
		w.must("POST", recovery+"/cancel", "")
		w.must("GET", recovery, "")
		w.must("GET", "/accounts", "")
		w.must("GET", "/event-types", "")
		w.receiver.Script(sendertest.Status(500))
		replayed := w.must("POST", account+"/events/"+event+"/replay", `{"endpoint_id": "`+id+`"}`)
		synctest.Wait()
		w.must("POST", account+"/deliveries/"+replayed["id"].(string)+"/cancel", "")
		w.must("DELETE", endpoint, "")
		for _, op := range operations {
			id := w.doc.Paths[op.path].operation(op.method).ID
			require.True(w, w.done[id], "%s is never carried out", id)
		}
	})
}

// The type of each problem leads to what is written about it.
func TestProblemsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	require.NoError(t, err)
	source, err := os.ReadFile("problem.go")
	require.NoError(t, err)
	kinds := regexp.MustCompile(`= kind\{"([a-z-]+)", http`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(kinds), 10)
	for _, k := range kinds {
		require.Contains(t, string(text), `<a id="`+k[1]+`"></a>`)
	}
	require.Len(t, kinds, strings.Count(string(text), `<a id=`))
}

func TestDocumentIsServed(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.access.Accounts = nil
		a := serve(w.api, request("GET", "/openapi.json", ""))
		require.Equal(w, http.StatusOK, a.Status)
		require.Equal(w, "application/json", a.Header.Get("Content-Type"))
		require.JSONEq(w, string(openAPI), a.Body)
	})
}
