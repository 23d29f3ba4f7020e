package workflow_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// What the statements of docs/operations.md find and delete, where that is more than their text says.

// documented returns the statements of a section of docs/operations.md.
func documented(t *testing.T, title string) (statements []string) {
	t.Helper()
	_, section, _ := strings.Cut(document(t, "docs/operations.md"), "\n## "+title+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range strings.Split(section, "```sql\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for statement := range strings.SplitSeq(strings.TrimSpace(block), ";\n") {
			statements = append(statements, strings.TrimSuffix(statement, ";"))
		}
	}
	if len(statements) == 0 {
		t.Fatalf("section %q has no statements", title)
	}
	return statements
}

// Old finished runs go, but not those whose parent may still have to read how they ended.
func TestRetentionFromSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, run := range []struct {
		id, parent, status string
		days               int
	}{
		{"goes: old", "", "completed", 31},
		{"stays: new", "", "completed", 29},
		{"stays: unfinished", "", "suspended", 31},
		{"stays: child of an unfinished run", "stays: unfinished", "failed", 31},
		{"goes: child of a finished run", "goes: old", "failed", 31},
		{"goes: child of a run that was deleted", "nobody", "cancelled", 31},
	} {
		kit.Exec(t, b.db, `
			INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id)
			SELECT $1, 'w', $2, '1', at, at, nullif($3, '')
			FROM (SELECT (extract(epoch FROM now() - $4 * interval '1 day') * 1000)::bigint) AS made (at)`, run.id, run.status, run.parent, run.days)
	}
	kit.Exec(t, b.db, documented(t, "Retention")[0])
	left := kit.Column[string](t, b.db, `SELECT id FROM workflows.workflow_runs ORDER BY id`)
	want := []string{"stays: child of an unfinished run", "stays: new", "stays: unfinished"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Error(diff)
	}
}

// The statements about approvals find what ListApprovals finds, and tell which decision counts.
func TestApprovalsFromSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	manager := workflow.DefineApproval[bool]("manager")
	refund := workflow.Define("refund", func(ctx context.Context, from []string) (string, error) {
		decision, err := manager.Ask(ctx, workflow.ApprovalRequest{From: from, For: "a mug", Within: time.Hour})
		return fmt.Sprint(decision), err
	})
	b.svc.Register(refund)
	kit.Work(t, b.svc)
	asked := map[string][]string{"refund-4711": {"anna", "ben"}, "of ben": {"ben"}, "of anybody": nil, "cancelled": {"anna"}}
	for id, from := range asked {
		_, err := refund.Start(t.Context(), b.svc, from, workflow.WithRunID(id))
		kit.Must(t, err)
		b.waiting(id, "signal:approval:manager")
	}
	kit.Must(t, b.svc.Cancel(t.Context(), "cancelled"))

	statements := documented(t, "Approvals")
	page, err := b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{From: "anna"})
	kit.Must(t, err)
	var listed []string
	for _, open := range page.Approvals {
		listed = append(listed, open.RunID)
	}
	found := kit.Column[string](t, b.db, "SELECT run_id FROM ("+statements[0]+") AS found")
	if diff := cmp.Diff(listed, found); diff != "" || len(found) != 2 {
		t.Errorf("found %q (-ListApprovals +statement):\n%s", found, diff)
	}

	id := workflow.ApprovalID("refund-4711", "manager")
	kit.Must(t, manager.Decide(t.Context(), b.svc, id, "eve", true))
	kit.Must(t, manager.Decide(t.Context(), b.svc, id, "ben", false))
	ends(t, refund.Handle(b.svc, "refund-4711"), "{ben false}")
	decided := kit.Column[string](t, b.db, "SELECT concat_ws(' ', by, value, counts) FROM ("+statements[1]+") AS decided")
	if diff := cmp.Diff([]string{"eve true f", "ben false t"}, decided); diff != "" {
		t.Error(diff)
	}
}

// The statement about families finds all that descends from a run, and the one about steps what it still waits for.
func TestFamilyFromSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leaf := workflow.Define[int, int]("leaf", nil) // no process registers it
	middle := workflow.Define("middle", func(ctx context.Context, n int) (int, error) { return workflow.Call(ctx, "leaf", leaf, n) })
	root := workflow.Define("root", func(ctx context.Context, n int) (int, error) {
		results, err := workflow.CallAll(ctx, "middles", middle, []int{n, n})
		return len(results), err
	})
	b.svc.Register(root, middle)
	kit.Work(t, b.svc)
	_, err := root.Start(t.Context(), b.svc, 1, workflow.WithRunID("refund-4711"))
	kit.Must(t, err)
	statements := documented(t, "Families")
	want := []string{"0 root", "1 middle", "1 middle", "2 leaf", "2 leaf"}
	kit.Until(t, "the family is complete", func() bool {
		found := kit.Column[string](t, b.db, "SELECT depth || ' ' || workflow FROM ("+statements[0]+") AS found ORDER BY 1")
		return cmp.Equal(want, found)
	})
	open := kit.Column[string](t, b.db, "SELECT step_name || ' ' || waiting FROM ("+statements[1]+") AS found")
	if diff := cmp.Diff([]string{"middles 2"}, open); diff != "" {
		t.Error(diff)
	}
}

// The statements about queues do what SetQueue and PauseQueue do, for workers and for whoever asks, and count as ListQueues does.
func TestQueuesFromSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var g turnstile
	w := g.workflow()
	b.svc.Register(w, quick)
	kit.Work(t, b.svc)
	b.ensure(workflow.Queue{Name: "images", MaxRunning: 5})
	b.ensure(workflow.Queue{Name: "mails"})
	statements := documented(t, "Queues")
	kit.Exec(t, b.db, statements[0])
	kit.Exec(t, b.db, statements[1])
	kit.Must(t, b.svc.PauseQueue(t.Context(), "images")) // until all are there
	for _, queue := range []string{"images", "mails"} {
		for _, partition := range []string{"a", "a", "a", "b"} {
			_, err := w.Start(t.Context(), b.svc, 1, workflow.WithQueue(queue), workflow.WithPartition(partition))
			kit.Must(t, err)
		}
	}
	kit.Must(t, b.svc.ResumeQueue(t.Context(), "images"))
	kit.Until(t, "two run", func() bool { return g.running.Load() == 2 })
	b.others()
	if images, mails := b.queue("images"), b.queue("mails"); images.MaxRunning != 2 || images.Running != 2 || images.Waiting != 2 ||
		mails.PausedAt.IsZero() || mails.Running != 0 || mails.Waiting != 4 {
		t.Errorf("images: %+v\nmails: %+v", images, mails)
	}
	counted := kit.Column[string](t, b.db, "SELECT concat_ws(' ', partition_key, running, waiting) FROM ("+statements[2]+") AS counted")
	if diff := cmp.Diff([]string{"a 1 2", "b 1 0"}, counted); diff != "" {
		t.Error(diff)
	}
	g.release(8)
}
