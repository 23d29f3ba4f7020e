package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// The name is stored with every run: the function may be renamed, this may not.
const workflowName = "take-order"

// Order is a line that makes sense.
type Order struct {
	Number   string
	Customer string
	Article  string
	Quantity int
}

// Receipt is what a run returns.
type Receipt struct {
	Order       string
	Cents       int
	Payment     string
	ConfirmedAt time.Time
}

// coolOff is for how long the customer may still call the order off. Here it is short; a day would cost no more.
const coolOff = 400 * time.Millisecond

// Between its attempts a charge waits 50 ms, then 100 ms and so on, until the provider has failed ten times.
var patient = workflow.RetryPolicy{MaxAttempts: 10, FirstDelay: 50 * time.Millisecond, MaxDelay: time.Second}

// takeOrder is the workflow. After a crash, or when it has waited, it is called again from the top, and each step that is
// recorded returns its record instead of calling its function: so the work goes on where it was.
//
// There are two kinds of steps. What a transactional one (DoTx) writes is committed together with its record: it happens
// exactly once. A plain one (Do) may have had its effect before a crash and not its record: it must be safe to repeat.
func (s *shop) takeOrder(ctx context.Context, line Line) (Receipt, error) {
	order, err := workflow.Do(ctx, "validate", func(ctx context.Context) (Order, error) {
		return s.validate(ctx, line) // which only reads
	})
	if err != nil {
		return Receipt{}, err // the run fails with the step's error
	}
	cents, err := workflow.DoTx(ctx, "reserve", func(ctx context.Context, tx *sql.Tx) (int, error) {
		return s.reserve(ctx, tx, line, order)
	})
	if err != nil {
		return Receipt{}, err
	}
	// Meanwhile the run is a row in a table: no goroutine waits, and any process may go on with it.
	if err := workflow.Sleep(ctx, "cool off", coolOff); err != nil {
		return Receipt{}, err
	}
	payment, err := workflow.Do(ctx, "charge", func(ctx context.Context) (string, error) {
		// The key is the same in every attempt, so the provider knows a repeated request.
		id, err := s.payments.charge(ctx, workflow.IdempotencyKey(ctx), order.Number, cents)
		if errors.Is(err, errDeclined) {
			return "", refuse(line, cardDeclined, "the card of %s was declined", order.Customer)
		}
		return id, err // any other error is tried again
	}, workflow.WithRetry(patient))
	if errors.Is(err, &workflow.Error{Code: cardDeclined}) {
		if _, err := workflow.DoTx(ctx, "release", s.release); err != nil {
			return Receipt{}, err
		}
	}
	if err != nil {
		return Receipt{}, err
	}
	confirmedAt, err := workflow.DoTx(ctx, "confirm", func(ctx context.Context, tx *sql.Tx) (time.Time, error) {
		return s.confirm(ctx, tx, order, cents)
	})
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Order: order.Number, Cents: cents, Payment: payment, ConfirmedAt: confirmedAt}, nil
}

// The codes of failed runs.
const (
	brokenLine     = "broken line"
	badQuantity    = "bad quantity"
	unknownArticle = "unknown article"
	duplicateOrder = "duplicate order"
	outOfStock     = "out of stock"
	cardDeclined   = "card declined"
)

// refuse returns an error that names the line. Its code is kept with it, for programs to match on. It is final: another
// attempt would find the same.
func refuse(line Line, code workflow.Code, format string, args ...any) error {
	message := fmt.Sprintf("line %d: ", line.Number) + fmt.Sprintf(format, args...)
	return workflow.Final(&workflow.Error{Code: code, Message: message})
}
