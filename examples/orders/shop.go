package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A shop has articles in stock and sells them.
type shop struct {
	db       *sql.DB
	payments *payments
}

// validate makes an order of the line. It only reads, so it may run again.
func (s *shop) validate(ctx context.Context, line Line) (Order, error) {
	order, err := parse(line)
	if err != nil {
		return Order{}, err
	}
	var known bool
	err = s.db.QueryRowContext(ctx,
		`SELECT EXISTS (SELECT FROM example_shop.articles WHERE code = $1)`, order.Article).Scan(&known)
	if err != nil {
		return Order{}, err
	}
	if !known {
		return Order{}, refuse(line, unknownArticle, "unknown article %q", order.Article)
	}
	return order, nil
}

// reserve enters the order, takes its articles from the stock and returns what they cost. All of it is one transaction
// with the record of the step, so it need not ask whether it has been here before. An error undoes it.
func (s *shop) reserve(ctx context.Context, tx *sql.Tx, line Line, order Order) (cents int, err error) {
	runID := workflow.RunID(ctx)
	err = tx.QueryRowContext(ctx, `
		INSERT INTO example_shop.orders (number, run_id, line, file, customer, cents)
		SELECT $1, $2, $3, $4, $5, cents * $6
		FROM example_shop.articles
		WHERE code = $7
		ON CONFLICT (number) DO NOTHING
		RETURNING cents`,
		order.Number, runID, line.Number, line.File, order.Customer, order.Quantity, order.Article).Scan(&cents)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, duplicate(ctx, tx, line, order)
	}
	if err != nil {
		return 0, err
	}

	taken, err := tx.ExecContext(ctx, `
		UPDATE example_shop.articles SET stock = stock - $1 WHERE code = $2 AND stock >= $1`,
		order.Quantity, order.Article)
	if err != nil {
		return 0, err
	}
	if n, err := taken.RowsAffected(); err != nil || n == 0 {
		return 0, errors.Join(err, refuse(line, outOfStock, "%d of %s are not in stock", order.Quantity, order.Article))
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO example_shop.reservations (run_id, order_number, article, quantity) VALUES ($1, $2, $3, $4)`,
		runID, order.Number, order.Article, order.Quantity)
	return cents, err
}

// duplicate says which line has placed the order.
func duplicate(ctx context.Context, tx *sql.Tx, line Line, order Order) error {
	var first Line
	err := tx.QueryRowContext(ctx, `SELECT file, line FROM example_shop.orders WHERE number = $1`,
		order.Number).Scan(&first.File, &first.Number)
	if err != nil {
		return err
	}
	return refuse(line, duplicateOrder, "order %s was already placed by line %d of %s", order.Number, first.Number, first.File)
}

// release undoes what reserve did, and returns how many pieces are back.
func (s *shop) release(ctx context.Context, tx *sql.Tx) (pieces int, err error) {
	runID := workflow.RunID(ctx)
	err = tx.QueryRowContext(ctx, `
		WITH gone AS (DELETE FROM example_shop.reservations WHERE run_id = $1 RETURNING article, quantity)
		UPDATE example_shop.articles SET stock = stock + gone.quantity FROM gone WHERE code = gone.article
		RETURNING gone.quantity`, runID).Scan(&pieces)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM example_shop.orders WHERE run_id = $1`, runID)
	return pieces, err
}

// confirm writes the mail to the customer.
func (s *shop) confirm(ctx context.Context, tx *sql.Tx, order Order, cents int) (at time.Time, err error) {
	mail := fmt.Sprintf("Dear %s, your order %s for %d.%02d € is on its way.",
		order.Customer, order.Number, cents/100, cents%100)
	err = tx.QueryRowContext(ctx, `
		INSERT INTO example_shop.confirmations (run_id, order_number, mail) VALUES ($1, $2, $3)
		RETURNING confirmed_at`,
		workflow.RunID(ctx), order.Number, mail).Scan(&at)
	return at, err
}
