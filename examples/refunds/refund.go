package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// What is stored has a name, which must not change: that of a workflow, of an approval, of a signal, of a step.
var (
	approval = workflow.DefineApproval[bool]("manager")
	booked   = workflow.DefineSignal[Booking]("booked")
)

// Request is what a customer asks for, and the input of a run.
type Request struct {
	Order    string
	Customer string
	Cents    int
	Reason   string
}

// Booking is what the bank says once it has moved the money.
type Booking struct {
	Transfer string
	Cents    int
}

// Outcome is how a refund ends. That the bank, or we, have failed is an error instead.
type Outcome string

// The outcomes of a refund.
const (
	Refunded Outcome = "refunded"
	Refused  Outcome = "refused" // by those who were asked
	Expired  Outcome = "expired" // nobody has decided in time
)

// Receipt is what a run returns.
type Receipt struct {
	Outcome Outcome
	By      string   // who has decided; "" for nobody
	Untold  []string // who could not be told of it
}

// refund is the workflow. Most of the time it waits for others: for a manager, for the bank, for three notifications. While it
// waits it is a row in a table, and takes no goroutine and no slot. When something comes, or the process has died, it is called
// again from the top, and what is recorded returns its record: so it goes on where it was.
func (s *shop) refund(ctx context.Context, request Request) (Receipt, error) {
	from, within := whoDecides(request.Cents)
	decision, err := approval.Ask(ctx, workflow.ApprovalRequest{From: from, For: request, Within: within})
	receipt := Receipt{By: decision.By}
	switch {
	case errors.Is(err, workflow.ErrTimeout):
		receipt.Outcome = Expired
	case err != nil: // perhaps the run is parked until somebody decides: return it
		return Receipt{}, err
	case decision.Value:
		receipt.Outcome = Refunded
	default:
		receipt.Outcome = Refused
	}
	if receipt.Outcome == Refunded {
		if err := s.transfer(ctx, request); err != nil {
			return Receipt{}, err
		}
	}
	_, err = workflow.DoTx(ctx, "close", func(ctx context.Context, tx *sql.Tx) (Outcome, error) {
		return receipt.Outcome, closeRefund(ctx, tx, request, receipt)
	})
	if err != nil {
		return Receipt{}, err
	}
	receipt.Untold, err = s.tellAll(ctx, request, receipt)
	return receipt, err
}

// How long people and the bank have. Here the director is given little, so that you see what happens without an answer; a month
// would cost no more.
const (
	managersTime  = time.Hour
	directorsTime = 3 * time.Second
	banksTime     = 72 * time.Hour
)

// whoDecides has no clock and asks no database: a run that is called again must ask the same.
func whoDecides(cents int) (from []string, within time.Duration) {
	if cents >= 500_00 {
		return []string{"clara"}, directorsTime
	}
	return []string{"anna", "ben"}, managersTime
}

// transfer has the bank pay, and waits until it says that it has: by a webhook, which becomes a signal (see webhook.go).
func (s *shop) transfer(ctx context.Context, request Request) error {
	_, err := workflow.Do(ctx, "transfer", func(ctx context.Context) (string, error) {
		// The key is the same in every attempt, so the bank knows a repeated request. It gives the run's id back in its webhook.
		return s.bank.transfer(ctx, workflow.IdempotencyKey(ctx), workflow.RunID(ctx), request.Cents)
	}, workflow.WithRetry(patient))
	if err != nil {
		return err
	}
	_, err = booked.Wait(ctx, banksTime) // it may have come already, before the run has got here
	return err
}

// Message is the input of a notification.
type Message struct{ To, Text string }

// tellAll starts three runs, waits until all have ended, and returns whom they could not tell: the money is where it belongs
// all the same, so that is no failure of the refund.
func (s *shop) tellAll(ctx context.Context, request Request, receipt Receipt) (untold []string, err error) {
	text := fmt.Sprintf("refund of order %s: %s", request.Order, receipt.Outcome)
	messages := []Message{{request.Customer, text}, {"accounting", text}, {"warehouse", text}}
	results, err := workflow.CallAll(ctx, "notify", s.notify, messages)
	if err != nil {
		return nil, err
	}
	for i, result := range results { // in the order of the messages
		if result.Err != nil {
			untold = append(untold, messages[i].To)
		}
	}
	return untold, nil
}

// Between its attempts a call waits 50 ms, then 100 ms and so on, until it has failed ten times.
var patient = workflow.RetryPolicy{MaxAttempts: 10, FirstDelay: 50 * time.Millisecond, MaxDelay: time.Second}
