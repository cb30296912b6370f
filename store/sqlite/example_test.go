package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

// A file of hookpost's own, to be handed to sender.New.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "hookpost")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	st, err := sqlite.Open(context.Background(), filepath.Join(dir, "webhooks.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	fmt.Println("durable:", st.Durable())
	// Output: durable: true
}

// An event that is stored if and only if the payment is. Senders do what is done
// with the Tx here in their method SendTx.
func ExampleStore_Tx() {
	dir, err := os.MkdirTemp("", "hookpost")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE payments (id TEXT PRIMARY KEY, amount INTEGER)"); err != nil {
		log.Fatal(err)
	}
	st, err := sqlite.New(db, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()

	pay := func(id string, amount int, commit bool) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing, once committed
		if _, err := tx.Exec("INSERT INTO payments VALUES (?, ?)", id, amount); err != nil {
			return err
		}
		ev := store.NewEvent{Event: store.Event{
			Scope: store.Scope{Mode: store.Live}, ID: "evt_" + id, Type: "payment.succeeded", Body: []byte("{}"),
		}}
		if _, err := st.Tx(tx).Enqueue(ctx, []store.NewEvent{ev}); err != nil || !commit {
			return err
		}
		return tx.Commit()
	}
	if err := pay("1", 500, true); err != nil {
		log.Fatal(err)
	}
	if err := pay("2", 700, false); err != nil {
		log.Fatal(err)
	}

	events, err := st.Events(ctx, store.Scope{Mode: store.Live}, store.EventQuery{})
	if err != nil {
		log.Fatal(err)
	}
	for _, ev := range events {
		fmt.Println(ev.ID, ev.Type)
	}
	// Output: evt_1 payment.succeeded
}
