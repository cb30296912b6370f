package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// A transaction stands in for the application's own: what is enqueued through it
// exists once it is committed.
func ExampleStore_Begin() {
	ctx := context.Background()
	st := memory.New()
	defer st.Close()
	scope := store.Scope{Tenant: "acme", Mode: store.Test}

	tx := st.Begin()
	_, err := tx.Enqueue(ctx, []store.NewEvent{{
		Event: store.Event{Scope: scope, ID: "evt_1", Type: "payment.succeeded", Body: []byte(`{}`)},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = st.Event(ctx, scope, "evt_1")
	fmt.Println(errors.Is(err, store.ErrNotFound))

	if err := tx.Commit(); err != nil {
		fmt.Println(err)
		return
	}
	event, err := st.Event(ctx, scope, "evt_1")
	fmt.Println(event.Type, err)
	// Output:
	// true
	// payment.succeeded <nil>
}
