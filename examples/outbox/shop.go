package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hookpost/hookpost/sender"
)

// shop is the application.
type shop struct {
	db    *database
	hooks *sender.Sender
}

// order is a row of the shop's table, and the data of its event.
type order struct {
	ID     string `json:"order"`
	Amount int    `json:"amount"` // in cents
}

// errDeclined is why orders are rolled back.
var errDeclined = errors.New("the card was declined")

// place stores an order together with its event. Neither exists unless both do.
func (s *shop) place(ctx context.Context, o order) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if _, err := tx.ExecContext(ctx, "INSERT INTO "+s.db.orders+" (id, amount) VALUES ($1, $2)", o.ID, o.Amount); err != nil {
		return err
	}
	_, err = s.hooks.SendTx(ctx, s.db.storeTx(tx), sender.Event{Type: "order.placed", Data: o, Refs: []string{o.ID}})
	if err != nil {
		return err
	}
	if err := charge(o); err != nil {
		return err // the event goes with the order
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.hooks.Wake() // delivery starts at once; without it, at the next poll
	return nil
}

// charge fails for every third amount.
func charge(o order) error {
	if o.Amount%3 == 0 {
		return errDeclined
	}
	return nil
}

// placeAll places n orders and returns the ids of those that went through.
func (s *shop) placeAll(ctx context.Context, n int) (placed []string, err error) {
	for i := range n {
		o := order{ID: fmt.Sprintf("order_%06d", i+1), Amount: 1000 + i}
		switch err := s.place(ctx, o); {
		case err == nil:
			placed = append(placed, o.ID)
		case !errors.Is(err, errDeclined):
			return placed, fmt.Errorf("%s: %w", o.ID, err)
		}
	}
	return placed, nil
}

// committed returns the ids in the table, sorted.
func (s *shop) committed(ctx context.Context) (ids []string, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id FROM "+s.db.orders+" ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
