package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// receivers are the servers of the shop's customers, by the path of their URL.
type receivers struct {
	server *httptest.Server
	closed chan struct{}
}

func startReceivers() *receivers {
	r := &receivers{closed: make(chan struct{})}
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	good := answer(http.StatusOK, "ok")
	bad := answer(http.StatusInternalServerError, "{\"error\": \"deadlock detected\", \"hint\": \"try again\"}")
	missing := answer(http.StatusNotFound, "<!doctype html><script>alert('not run')</script><h1>No such page</h1>\x00\x1b[31m\u202e")
	mux := http.NewServeMux()
	mux.Handle("/accounting", good)
	mux.Handle("/test", good)
	mux.HandleFunc("/warehouse", func(w http.ResponseWriter, req *http.Request) { // every third request fails
		if rand.IntN(3) == 0 {
			bad(w, req)
			return
		}
		time.Sleep(time.Duration(20+rand.IntN(300)) * time.Millisecond)
		good(w, req)
	})
	mux.Handle("/mailing-list-of-the-marketing-department/integrations/2026/webhooks/handler", missing)
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-req.Context().Done():
		case <-r.closed:
		}
	})
	mux.Handle("/moved-away", answer(http.StatusGone, ""))
	r.server = httptest.NewUnstartedServer(mux)
	r.server.Config.ReadTimeout = 10 * time.Second
	r.server.Start()
	return r
}

func (r *receivers) close() {
	close(r.closed)
	r.server.CloseClientConnections()
	r.server.Close()
}

// register makes the endpoints of a mode.
func (r *receivers) register(ctx context.Context, tenant *sender.Tenant, mode store.Mode) error {
	endpoints := []sender.EndpointSpec{
		{URL: "/accounting", EventTypes: []string{"*"}, Description: "Books"},
		{URL: "/warehouse", EventTypes: []string{"checkout.session.completed", "charge.succeeded", "refund.created"}, Description: "Packs what was paid; its database is slow"},
		{URL: "/mailing-list-of-the-marketing-department/integrations/2026/webhooks/handler", EventTypes: []string{"customer.*"}},
		{URL: "/slow", EventTypes: []string{"payout.paid"}, Description: "Never answers"},
		{URL: "/moved-away", EventTypes: []string{"customer.deleted", "customer.created"}},
	}
	if mode == store.Test {
		endpoints = []sender.EndpointSpec{{URL: "/test", EventTypes: []string{"*"}, Description: "A laptop"}}
	}
	for _, spec := range endpoints {
		spec.URL = r.server.URL + spec.URL
		if _, _, err := tenant.CreateEndpoint(sender.WithActor(ctx, "ann@shop.example"), spec); err != nil {
			return err
		}
	}
	return nil
}
