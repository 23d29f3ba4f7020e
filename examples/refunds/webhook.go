package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sqlworkflow/workflow"
)

// Event is the body of the bank's webhook.
type Event struct {
	ID        string
	Reference string // that we gave it: the run's id
	Booking   Booking
}

// ServeHTTP is the bank's webhook. The bank calls until it hears that we have it, and then perhaps once more: so an answer is given
// after the commit, and an event that comes twice does no harm.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var event Event
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&event); err != nil || event.ID == "" {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}
	if err := s.receive(r.Context(), event); err != nil {
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// receive notes an event and tells its run of it, in one transaction: what is in our books has been told, and the reverse.
func (s *shop) receive(ctx context.Context, event Event) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(ctx, `
		INSERT INTO example_refunds.bank_events AS e (id, reference, transfer, cents) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET received = e.received + 1`,
		event.ID, event.Reference, event.Booking.Transfer, event.Booking.Cents)
	if err != nil {
		return err
	}
	// Last, since it holds the run until the commit. The event's id is the key, under which a signal is sent once.
	err = booked.Send(ctx, s.service.In(tx), event.Reference, event.Booking, workflow.WithKey(event.ID))
	if errors.Is(err, workflow.ErrRunNotFound) || errors.Is(err, workflow.ErrRunFinished) {
		// Nobody waits for it, and calling again would not help. The transaction is as good as before: somebody has to look.
		_, err = tx.ExecContext(ctx, `UPDATE example_refunds.bank_events SET stray = TRUE WHERE id = $1`, event.ID)
	}
	if err != nil {
		return fmt.Errorf("event %s: %w", event.ID, err)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.service.Wake()
	return nil
}
