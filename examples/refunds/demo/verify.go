package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Each row names a fault and says how often it is there. The runs stand beside the shop's own tables, so they can be joined.
const faults = `
	WITH refunds AS (
	    SELECT refund.run_id, refund.outcome, refund.decided_by, o.cents, o.refunded, run.status,
	           asked.status AS asked, asked.request -> 'from' AS those, asked.result AS decision, asked.error ->> 'code' AS code,
	           (SELECT count(*) FROM example_refunds.bank_transfers WHERE reference = refund.run_id) AS transfers,
	           (SELECT count(*) FROM example_refunds_workflows.workflow_signals AS signal
	            WHERE signal.run_id = refund.run_id AND signal.name = 'booked') AS bookings,
	           (SELECT count(*) FROM example_refunds_workflows.workflow_runs AS child WHERE child.parent_id = refund.run_id) AS children
	    FROM example_refunds.refunds AS refund
	    JOIN example_refunds.orders AS o ON o.number = refund.order_number
	    JOIN example_refunds_workflows.workflow_runs AS run ON run.id = refund.run_id
	    JOIN example_refunds_workflows.workflow_steps AS asked ON asked.run_id = run.id AND asked.kind = 'approval'
	)
	SELECT 'refunds that are not over', abs((SELECT count(*) FROM example_refunds.orders) - count(*))
	FROM refunds WHERE status = 'completed' AND outcome IN ('refunded', 'refused', 'expired')
	UNION ALL
	SELECT 'refunds that are not what somebody who was asked has said', count(*)
	FROM refunds
	WHERE outcome IN ('refunded', 'refused')
	  AND ((decision ->> 'value')::boolean, decision ->> 'by', those ? decided_by) IS DISTINCT FROM (outcome = 'refunded', decided_by, TRUE)
	UNION ALL
	SELECT 'refunds that expired and were decided', count(*)
	FROM refunds WHERE outcome = 'expired' AND (asked, code, decided_by) IS DISTINCT FROM ('failed', 'timeout', NULL)
	UNION ALL
	SELECT 'refunds without one transfer and one signal of it', count(*)
	FROM refunds WHERE outcome = 'refunded' AND (transfers, bookings, refunded) <> (1, 1, cents)
	UNION ALL
	SELECT 'other refunds with money', count(*)
	FROM refunds WHERE outcome <> 'refunded' AND (transfers, bookings, refunded) <> (0, 0, 0)
	UNION ALL
	SELECT 'webhooks that came once', count(*)
	FROM example_refunds.bank_events WHERE received < 2
	UNION ALL
	SELECT 'webhooks that nobody waited for', count(*)
	FROM example_refunds.bank_events WHERE stray
	UNION ALL
	SELECT 'refunds without three notifications', count(*)
	FROM refunds WHERE children <> 3
	UNION ALL
	SELECT 'notifications that are not as their run has ended', count(*)
	FROM example_refunds_workflows.workflow_runs AS child
	WHERE child.parent_id IS NOT NULL
	  AND child.status <> CASE WHEN child.input ->> 'To' = 'unknown' THEN 'failed' ELSE 'completed' END
	UNION ALL
	SELECT 'messages too many or too few', abs(count(*) - (
	    SELECT count(*) FROM example_refunds_workflows.workflow_runs WHERE parent_id IS NOT NULL AND status = 'completed'))
	FROM example_refunds.messages`

// verify asks the database, and not the program that did the work, whether anything was lost or done twice.
func verify(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, faults)
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
