package main

import (
	"context"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow"
)

// beginnings are told when the one step of their run begins, by its number.
var beginnings = newMeetings()

var begins = workflow.Define("begins", func(ctx context.Context, number int) (string, error) {
	return workflow.Do(ctx, "step", func(context.Context) (string, error) {
		beginnings.tell(number)
		return stepResult, nil
	})
})

// WakeAll moves the times that the rows have. The statistics are those of a table that has been in use.
func (l *library) WakeAll(ctx context.Context) error {
	for _, statement := range []string{
		"VACUUM /* bench */ ANALYZE workflows.workflow_runs, workflows.workflow_steps",
		"UPDATE /* bench */ workflows.workflow_steps SET wake_at = 1 WHERE step_name = 'for an hour'",
		`UPDATE /* bench */ workflows.workflow_runs SET run_at = extract(epoch FROM clock_timestamp()) * 1000
		 WHERE workflow = 'asleep' AND status = 'suspended'`,
	} {
		if _, err := l.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (l *library) Asleep(ctx context.Context) (n int, err error) {
	const count = `SELECT /* bench */ count(*) FROM workflows.workflow_runs WHERE workflow = 'asleep' AND status IN ('pending', 'running', 'suspended')`
	err = l.db.QueryRowContext(ctx, count).Scan(&n)
	return n, err
}

func (l *library) Begin(ctx context.Context, here bool) (begun, known time.Duration, err error) {
	number, meeting := beginnings.next()
	from := map[bool]*workflow.Service{true: l.svc, false: l.elsewhere}[here]
	began := time.Now()
	handle, err := begins.Start(ctx, from, number)
	if err != nil {
		return 0, 0, err
	}
	select {
	case at := <-meeting:
		begun = at.Sub(began)
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	result, err := handle.Result(ctx)
	return begun, time.Since(began), same(result, stepResult, err)
}

var (
	errNotYet = errors.New("not yet")
	fails     = workflow.Define("fails", func(ctx context.Context, times int) (string, error) {
		return workflow.Do(ctx, "step", func(ctx context.Context) (string, error) {
			if workflow.Attempt(ctx) <= times {
				return "", errNotYet
			}
			return stepResult, nil
		}, workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: workflow.Unlimited, FirstDelay: time.Millisecond, Factor: 1, Jitter: -1}))
	})
)

func (l *library) Fail(ctx context.Context, times int) error {
	handle, err := fails.Start(ctx, l.svc, times)
	if err != nil {
		return err
	}
	result, err := handle.Result(ctx)
	return same(result, stepResult, err)
}
