package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

// printAudit tells of each refund who was asked, who has decided what and when, what has come for it and who took that, and
// which runs it has started: all of it from the database.
func printAudit(ctx context.Context, out io.Writer, shop *shop) error {
	for _, a := range asked {
		t := &audit{service: shop.service, runID: "refund-" + a[0]}
		if err := t.read(ctx); err != nil {
			return err
		}
		fmt.Fprintln(out)
		t.print(out)
	}
	return printTotals(ctx, out, shop.db)
}

// The library's tables stand beside the shop's, and can be asked together with them, by psql as well.
const totals = `
	SELECT 'refunds that are ' || outcome, count(*)
	FROM example_refunds.refunds
	GROUP BY outcome
	UNION ALL
	SELECT 'decisions that count', count(*)
	FROM example_refunds_workflows.workflow_steps WHERE kind = 'approval' AND signal_seq IS NOT NULL
	UNION ALL
	SELECT 'decisions in all', count(*)
	FROM example_refunds_workflows.workflow_signals WHERE starts_with(name, 'approval:')
	UNION ALL
	SELECT 'calls of the webhook', coalesce(sum(received), 0)
	FROM example_refunds.bank_events
	UNION ALL
	SELECT 'signals of the bank', count(*)
	FROM example_refunds_workflows.workflow_signals WHERE name = 'booked'
	UNION ALL
	SELECT 'notifications ' || status, count(*)
	FROM example_refunds_workflows.workflow_runs WHERE parent_id IS NOT NULL
	GROUP BY status`

func printTotals(ctx context.Context, out io.Writer, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, totals)
	if err != nil {
		return err
	}
	defer rows.Close()
	fmt.Fprintln(out)
	for rows.Next() {
		var what string
		var n int
		if err := rows.Scan(&what, &n); err != nil {
			return err
		}
		fmt.Fprintf(out, "%-24s %d\n", what, n)
	}
	return rows.Err()
}

// An audit is what is recorded of a run.
type audit struct {
	service  *workflow.Service
	runID    string
	run      workflow.Run
	request  Request
	receipt  Receipt
	steps    []workflow.Step
	signals  []workflow.SentSignal
	children []workflow.Run
}

func (t *audit) read(ctx context.Context) (err error) {
	if t.run, err = t.service.GetRun(ctx, t.runID); err != nil {
		return err
	}
	if err := t.run.DecodeInput(&t.request); err != nil {
		return err
	}
	if t.run.Status == workflow.RunCompleted {
		if err := t.run.DecodeOutput(&t.receipt); err != nil {
			return err
		}
	}
	if t.steps, err = t.service.ListSteps(ctx, t.runID); err != nil {
		return err
	}
	if t.signals, err = t.service.ListSignals(ctx, t.runID); err != nil {
		return err
	}
	page, err := t.service.ListRuns(ctx, workflow.RunFilter{ParentID: t.runID})
	t.children = page.Runs
	return err
}

func (t *audit) print(out io.Writer) {
	fmt.Fprintf(out, "%s  %s, %d.%02d €, %q: %s\n", t.runID, t.request.Customer, t.request.Cents/100, t.request.Cents%100,
		t.request.Reason, cmp.Or(string(t.receipt.Outcome), string(t.run.Status)))
	for i, step := range t.steps {
		branch, below := "├─ ", "│  "
		if i == len(t.steps)-1 {
			branch, below = "└─ ", "   "
		}
		text, lines := t.step(step)
		fmt.Fprintf(out, "%s%-9s %s\n", branch, step.Name, text)
		for _, line := range lines {
			fmt.Fprintf(out, "%s%s\n", below, line)
		}
	}
	for _, signal := range t.signals {
		if signal.TakenBy == "" && !strings.HasPrefix(signal.Name, decisions) {
			fmt.Fprintf(out, "%s  signal %q with key %q: nobody has taken it\n", clock(signal.SentAt), signal.Name, signal.Key)
		}
	}
}

// step returns what is to be said of a step, and of what belongs to it.
func (t *audit) step(step workflow.Step) (text string, lines []string) {
	switch step.Kind {
	case workflow.ApprovalStep:
		return t.approval(step)
	case workflow.SignalStep:
		for _, signal := range t.signals {
			if signal.TakenBy == step.Name {
				lines = append(lines, fmt.Sprintf("%s  signal %q with key %q, taken by this step", clock(signal.SentAt), signal.Name, signal.Key))
			}
		}
		return result(step), lines
	case workflow.CallStep:
		for _, child := range t.children {
			var message Message
			_ = child.DecodeInput(&message)
			line := fmt.Sprintf("%-10s  run %s: %s", message.To, child.ID, child.Status)
			if child.Err != nil {
				line += ", " + child.Err.Error()
			}
			lines = append(lines, line)
		}
		slices.Sort(lines)
		return fmt.Sprintf("%d runs", len(lines)), lines
	default:
		return result(step), nil
	}
}

// decisions is what the names of the signals begin with that are decisions; the step that asks follows.
const decisions = "approval:"

// approval tells who was asked, and judges each decision that was sent as the workflow did: the signal that the step has taken
// is the one that counts.
func (t *audit) approval(step workflow.Step) (text string, lines []string) {
	var asked struct{ From []string }
	_ = json.Unmarshal(step.Request, &asked)
	text = fmt.Sprintf("%s asked at %s, until %s: %s",
		strings.Join(asked.From, " and "), clock(step.StartedAt), clock(step.WakeAt), result(step))
	for _, signal := range t.signals {
		if signal.Name != decisions+step.Name {
			continue
		}
		var decision struct {
			By    string
			Value bool
		}
		_ = json.Unmarshal(signal.Payload, &decision) // anybody may have sent anything
		verdict := "too late"
		switch {
		case signal.TakenBy == step.Name:
			verdict = "this counts"
		case !slices.Contains(asked.From, decision.By):
			verdict = "was not asked"
		}
		lines = append(lines, fmt.Sprintf("%s  %-8s %-4s %s", clock(signal.SentAt), decision.By, words[decision.Value], verdict))
	}
	return text, lines
}

func result(step workflow.Step) string {
	switch step.Status {
	case workflow.StepSucceeded:
		return string(step.Result)
	case workflow.StepFailed:
		return "failed: " + step.Err.Error()
	default:
		return string(step.Status)
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
