package dedupe_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
)

func ExampleMemory() {
	seen := dedupe.NewMemory(nil)
	event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
	deliver := func(handle func(context.Context) error) {
		fmt.Println(verifier.Once(context.Background(), seen, event, handle))
	}
	deliver(func(context.Context) error { return fmt.Errorf("out of stock") })
	deliver(func(ctx context.Context) error { // released by the failure
		deliver(func(context.Context) error { panic("not reached") }) // meanwhile
		return nil
	})
	deliver(func(context.Context) error { panic("not reached") })
	// Output:
	// out of stock
	// verifier: the event is being handled
	// <nil>
	// verifier: the event was handled before
}

// A payment is booked once however often it is delivered, and however many
// processes receive: the mark that it was handled is committed with the booking.
func ExampleSQL_MarkTx() {
	receive := func(ctx context.Context, db *sql.DB) error {
		seen, err := dedupe.NewSQL(db, dedupe.PostgreSQL, nil)
		if err != nil {
			return err
		}
		if err := seen.Migrate(ctx); err != nil {
			return err
		}
		v, err := verifier.New(os.Getenv("WEBHOOK_SECRET"), &verifier.Options{Dedupe: seen})
		if err != nil {
			return err
		}
		mux := verifier.NewMux(nil)
		verifier.On(mux, "payment.succeeded", func(ctx context.Context, _ verifier.Event, p struct{ ID string }) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.ExecContext(ctx, "UPDATE orders SET paid = true WHERE payment = $1", p.ID); err != nil {
				return err
			}
			if err := seen.MarkTx(ctx, tx); err != nil {
				return err
			}
			return tx.Commit()
		})
		http.Handle("POST /webhooks", v.Middleware(mux))
		return nil
	}
	_ = receive
}

// A migration tool wants the statements.
func ExampleSQL_Schema() {
	seen, err := dedupe.NewSQL(&sql.DB{}, dedupe.PostgreSQL, nil)
	if err != nil {
		slog.Error("no dedupe", "error", err)
		return
	}
	for _, statement := range seen.Schema() {
		fmt.Println(statement + ";")
	}
	// Output:
	// CREATE TABLE IF NOT EXISTS webhook_dedupe (
	// 	id          text PRIMARY KEY,
	// 	claim       text NOT NULL,    -- who has it
	// 	done        boolean NOT NULL, -- false: a handler is at work
	// 	valid_until bigint NOT NULL   -- milliseconds since 1970
	// );
	// CREATE INDEX IF NOT EXISTS webhook_dedupe_valid_until ON webhook_dedupe (valid_until);
}
