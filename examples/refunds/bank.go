package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// bank pretends to be the client of a bank, with a bad network between here and there, and the bank as well: what it does by itself
// (work) would go on if we died. As real ones do, it takes an idempotency key, and calls our webhook at least once.
type bank struct {
	db *sql.DB // the bank's, in truth
}

var errNoAnswer = errors.New("no answer")

// transfer asks for money to be moved, and returns the number of the transfer. That it is done comes later, to the webhook, with
// our reference.
func (b *bank) transfer(ctx context.Context, key, reference string, cents int) (number string, err error) {
	if err := network(ctx); err != nil {
		return "", err
	}
	var requests int
	err = b.db.QueryRowContext(ctx, `
		INSERT INTO example_refunds.bank_transfers AS t (key, reference, cents) VALUES ($1, $2, $3)
		ON CONFLICT (key) DO UPDATE SET requests = t.requests + 1
		RETURNING number, requests`, key, reference, cents).Scan(&number, &requests)
	if err != nil {
		return "", err
	}
	if requests == 1 { // its answer is lost, so the money is on its way and we do not know
		return "", errNoAnswer
	}
	return "transfer " + number, network(ctx)
}

// work books transfers and tells of each, twice, until ctx ends.
func (b *bank) work(ctx context.Context, webhook string) {
	for every(ctx, 20*time.Millisecond) {
		var event Event
		var calls int
		err := b.db.QueryRowContext(ctx, `
			SELECT number, reference, cents, calls
			FROM example_refunds.bank_transfers
			WHERE calls < 2 AND asked_at < now() - interval '300 ms'
			ORDER BY number
			LIMIT 1`).Scan(&event.ID, &event.Reference, &event.Booking.Cents, &calls)
		if err != nil { // sql.ErrNoRows, most of the time
			continue
		}
		number := event.ID
		event.ID, event.Booking.Transfer = "event "+number, "transfer "+number
		if err := call(ctx, webhook, event); err != nil {
			continue // and call again
		}
		_, _ = b.db.ExecContext(ctx, `UPDATE example_refunds.bank_transfers SET calls = calls + 1 WHERE number = $1`, number)
	}
}

// finish waits until the bank has nothing more to tell.
func (b *bank) finish(ctx context.Context) error {
	for every(ctx, 20*time.Millisecond) {
		var left int
		err := b.db.QueryRowContext(ctx, `SELECT count(*) FROM example_refunds.bank_transfers WHERE calls < 2`).Scan(&left)
		if err != nil || left == 0 {
			return err
		}
	}
	return context.Cause(ctx)
}

func call(ctx context.Context, webhook string, event Event) error {
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, webhook, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}

// network takes its time.
func network(ctx context.Context) error {
	if !every(ctx, 20*time.Millisecond+rand.N(40*time.Millisecond)) {
		return context.Cause(ctx)
	}
	return nil
}

// every returns true after d, and false when ctx has ended.
func every(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
