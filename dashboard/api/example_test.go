package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/dashboard/api"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

func ExampleNew() {
	hooks, err := sender.New(memory.New(), &sender.Options{Logger: slog.New(slog.DiscardHandler)})
	check(err)
	operations, err := api.New(hooks, func(r *http.Request) (dashboard.Access, error) {
		if r.Header.Get("Authorization") != "Bearer token-of-acme" {
			return dashboard.Access{}, fmt.Errorf("unknown token")
		}
		return dashboard.Access{Actor: "acme's script", Accounts: []dashboard.Account{
			{Tenant: "acme", Mode: store.Test, Rights: dashboard.Manage},
		}}, nil
	}, nil)
	check(err)
	defer operations.Close()
	mux := http.NewServeMux()
	mux.Handle("/webhooks/api/", http.StripPrefix("/webhooks/api", operations))
	server := httptest.NewServer(mux)
	defer server.Close()

	post := func(path, body string) (int, []byte) {
		req, err := http.NewRequest("POST", server.URL+"/webhooks/api"+path, strings.NewReader(body))
		check(err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer token-of-acme")
		resp, err := http.DefaultClient.Do(req)
		check(err)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		check(err)
		return resp.StatusCode, answer
	}

	status, answer := post("/accounts/test~acme/endpoints", `{"url": "https://example.com/webhooks", "event_types": ["payment.*"]}`)
	var created struct {
		Endpoint struct{ State string }
		Secret   string // the only time anyone sees it
	}
	check(json.Unmarshal(answer, &created))
	fmt.Println(status, created.Endpoint.State, created.Secret[:6])

	status, answer = post("/accounts/test~acme/endpoints", `{"url": "example.com", "event_type": "*"}`)
	var problem struct {
		Errors []struct{ Pointer, Detail string }
	}
	check(json.Unmarshal(answer, &problem))
	fmt.Println(status)
	for _, e := range problem.Errors {
		fmt.Println(e.Pointer, e.Detail)
	}
	// Output:
	// 201 enabled whsec_
	// 422
	// #/event_type is not a field here; the fields are description, disabled, event_types, reason, test_event, url
	// #/event_types is missing; it is a list of strings
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
