package postgres_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// exampleDSN is where the examples find a server; applications have a DSN of their
// own.
func exampleDSN() string { return server.DSN }

func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, exampleDSN())
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	opts := &postgres.Options{Schema: "hookpost_example"} // nil for the schema hookpost
	if err := postgres.Migrate(ctx, pool, opts); err != nil {
		log.Fatal(err)
	}
	st, err := postgres.New(pool, opts)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	fmt.Println("durable:", st.Durable())

	if _, err := pool.Exec(ctx, "DROP SCHEMA hookpost_example CASCADE"); err != nil {
		log.Fatal(err)
	}
	// Output: durable: true
}

// An event that is stored if and only if the payment is. Senders do what is done
// with the Tx here in their method SendTx.
func ExampleStore_Tx() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, exampleDSN())
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	opts := &postgres.Options{Schema: "hookpost_example_tx"}
	if err := postgres.Migrate(ctx, pool, opts); err != nil {
		log.Fatal(err)
	}
	defer func() { _, _ = pool.Exec(ctx, "DROP SCHEMA hookpost_example_tx CASCADE") }()
	st, err := postgres.New(pool, opts)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()

	pay := func(id string, amount int) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			ev := store.NewEvent{Event: store.Event{
				Scope: store.Scope{Mode: store.Live}, ID: "evt_" + id, Type: "payment.succeeded", Body: []byte("{}"),
			}}
			if _, err := st.Tx(tx).Enqueue(ctx, []store.NewEvent{ev}); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "SELECT 1 / $1::int", amount) // the application's own statements
			return err
		})
	}
	fmt.Println(pay("1", 500))
	fmt.Println(pay("2", 0) != nil)

	events, err := st.Events(ctx, store.Scope{Mode: store.Live}, store.EventQuery{})
	if err != nil {
		log.Fatal(err)
	}
	for _, ev := range events {
		fmt.Println(ev.ID, ev.Type)
	}
	// Output:
	// <nil>
	// true
	// evt_1 payment.succeeded
}
