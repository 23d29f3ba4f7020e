package workflow_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A worker that is no Go program does its work by the two statements of docs/operations.md: one finds what is to be done, the other
// one answers, with a result or an error.
func TestRemoteWorkerInSQL(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		_, section, _ := strings.Cut(document(t, "docs/operations.md"), "\n## Answering a step from SQL\n")
		blocks := strings.Split(section, "```")
		find, answer := strings.TrimPrefix(blocks[1], "sql\n"), strings.TrimPrefix(blocks[3], "sql\n")
		_, failing, _ := strings.Cut(blocks[4], "With `")
		failing, _, _ = strings.Cut(failing, "`")

		translate := workflow.Define[string, string]("translate", nil) // no process registers it
		order := workflow.Define("order", func(ctx context.Context, items []string) ([]string, error) {
			texts := make([]string, len(items))
			for i, item := range items {
				text, err := workflow.Call(ctx, "translate", translate, item)
				switch {
				case errors.Is(err, workflow.Code("no_such_word")):
					text = "?"
				case err != nil:
					return nil, err
				}
				texts[i] = text
			}
			return texts, nil
		})
		b.svc.Register(order)
		kit.Work(t, b.svc)
		handle, err := order.Start(t.Context(), b.svc, []string{"a cup", "a mug"}, workflow.WithRunID("order-17"))
		kit.Must(t, err)

		for _, says := range []string{"status = 'succeeded', result = '\"une tasse\"'::jsonb, error = NULL", failing} {
			var run, step, input string
			kit.Until(t, "there is something to do", func() bool {
				return b.db.QueryRowContext(t.Context(), find).Scan(&run, &step, &input) == nil
			})
			text := strings.ReplaceAll(answer, "status = 'succeeded', result = '\"une tasse\"'::jsonb, error = NULL", says)
			text = strings.ReplaceAll(text, "'translate'", "'"+step+"'")
			if done, err := b.db.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			} else if n, err := done.RowsAffected(); err != nil || n != 1 {
				t.Fatalf("the answer to %s of %s, %s: %d rows, %v", step, run, input, n, err)
			}
		}
		got, err := handle.Result(kit.Context(t))
		kit.Must(t, err)
		if diff := cmp.Diff([]string{"une tasse", "?"}, got); diff != "" {
			t.Error(diff)
		}
	})
}
