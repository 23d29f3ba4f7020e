package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow"
)

// A shop has sold something, and takes some of it back.
type shop struct {
	db      *sql.DB
	service *workflow.Service
	bank    *bank
	refunds *workflow.Workflow[Request, Receipt]
	notify  *workflow.Workflow[Message, string] // executed here; a process of its own could register it instead
}

func newShop(db *sql.DB, service *workflow.Service) *shop {
	s := &shop{db: db, service: service, bank: &bank{db: db}}
	post := &post{db: db}
	s.refunds = workflow.Define("refund", s.refund)
	s.notify = workflow.DefineStep("notify", post.deliver, workflow.WithRetry(patient))
	service.Register(s.refunds, s.notify)
	return s
}

// request notes what a customer asks for, and starts the run that works on it: both, or neither. An order is refunded once, so
// asking again finds what was asked before.
func (s *shop) request(ctx context.Context, order, reason string) (*workflow.Handle[Receipt], error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	request := Request{Order: order, Reason: reason}
	err = tx.QueryRowContext(ctx, `SELECT customer, cents FROM example_refunds.orders WHERE number = $1`, order).
		Scan(&request.Customer, &request.Cents)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("there is no order %s", order)
	}
	if err != nil {
		return nil, err
	}
	runID := "refund-" + order
	_, err = tx.ExecContext(ctx, `
		INSERT INTO example_refunds.refunds (order_number, run_id, reason) VALUES ($1, $2, $3)
		ON CONFLICT (order_number) DO NOTHING`, order, runID, reason)
	if err != nil {
		return nil, err
	}
	handle, err := s.refunds.Start(ctx, s.service.In(tx), request, workflow.WithRunID(runID))
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	s.service.Wake() // or the run waits for the next poll
	return handle, nil
}

// closeRefund writes how a refund has ended. It is one transaction with the record of its step, so no money is counted twice.
func closeRefund(ctx context.Context, tx *sql.Tx, request Request, receipt Receipt) error {
	if receipt.Outcome == Refunded {
		_, err := tx.ExecContext(ctx, `
			UPDATE example_refunds.orders SET refunded = refunded + $1 WHERE number = $2`, request.Cents, request.Order)
		if err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE example_refunds.refunds SET outcome = $1, decided_by = nullif($2, ''), closed_at = now() WHERE order_number = $3`,
		string(receipt.Outcome), receipt.By, request.Order)
	return err
}
