package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Each row names a fault and says how often it is there. The runs stand beside the shop's own tables, so they can be
// joined.
const faults = `
	WITH runs AS (
	    SELECT run.id, run.status,
	           (SELECT count(*) FROM example_shop.reservations WHERE run_id = run.id) AS reserved,
	           (SELECT count(*) FROM example_shop.payments JOIN example_shop.orders ON number = reference WHERE run_id = run.id) AS charged,
	           (SELECT count(*) FROM example_shop.confirmations WHERE run_id = run.id) AS confirmed
	    FROM example_workflows.workflow_runs AS run
	)
	SELECT 'lines without a run that has ended', abs($1 - count(*)) FROM runs WHERE status IN ('completed', 'failed')
	UNION ALL
	SELECT 'completed runs without one reservation, one charge and one confirmation', count(*)
	FROM runs WHERE status = 'completed' AND (reserved, charged, confirmed) <> (1, 1, 1)
	UNION ALL
	SELECT 'failed runs with a reservation, a charge or a confirmation', count(*)
	FROM runs WHERE status = 'failed' AND (reserved, charged, confirmed) <> (0, 0, 0)
	UNION ALL
	SELECT 'completed runs without five succeeded steps', count(*)
	FROM runs
	WHERE status = 'completed' AND 5 <> (
	    SELECT count(*) FROM example_workflows.workflow_steps AS step WHERE step.run_id = runs.id AND step.status = 'succeeded')
	UNION ALL
	SELECT 'charges without an order', count(*)
	FROM example_shop.payments WHERE reference NOT IN (SELECT number FROM example_shop.orders)
	UNION ALL
	SELECT 'orders charged twice', count(*)
	FROM (SELECT FROM example_shop.payments GROUP BY reference HAVING count(*) > 1) AS twice
	UNION ALL
	SELECT 'articles whose stock is not what the reservations leave', count(*)
	FROM example_shop.articles
	WHERE stock <> delivered - (
	    SELECT coalesce(sum(quantity), 0) FROM example_shop.reservations WHERE article = code)`

// verify asks the database, and not the program that did the work, whether anything was lost or done twice.
func verify(ctx context.Context, db *sql.DB, lines int) error {
	rows, err := db.QueryContext(ctx, faults, lines)
	if err != nil {
		return err
	}
	defer rows.Close()
	var found []error
	for rows.Next() {
		var fault string
		var n int
		if err := rows.Scan(&fault, &n); err != nil {
			return err
		}
		if n != 0 {
			found = append(found, fmt.Errorf("%s: %d", fault, n))
		}
	}
	return errors.Join(append(found, rows.Err())...)
}
