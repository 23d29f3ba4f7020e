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

// found are the ids of the runs that a filter finds, page by page.
func (b *bench) found(filter workflow.RunFilter) (ids []string) {
	b.t.Helper()
	for {
		page, err := b.svc.ListRuns(b.t.Context(), filter)
		kit.Must(b.t, err)
		for _, run := range page.Runs {
			ids = append(ids, run.ID)
		}
		if filter.Cursor = page.Next; page.Next == "" {
			return ids
		}
	}
}

func (b *bench) attributes(id string) map[string]string {
	b.t.Helper()
	attributes, err := b.svc.GetAttributes(b.t.Context(), id)
	kit.Must(b.t, err)
	return attributes
}

var sale = workflow.Define("sale", func(_ context.Context, n int) (int, error) { return n, nil })

// sell starts a run with attributes; nobody executes it.
func (b *bench) sell(on workflow.Session, id string, attributes map[string]string, options ...workflow.StartOption) {
	b.t.Helper()
	options = append(options, workflow.WithRunID(id), workflow.WithAttributes(attributes))
	_, err := sale.Start(b.t.Context(), on, 1, options...)
	kit.Must(b.t, err)
}

// However a run is started it has its attributes, and is found by them, newest first, page by page, with whatever else is asked for.
func TestRunsAreFoundByAttributes(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		kit.Must(t, b.svc.EnsureQueue(t.Context(), workflow.Queue{Name: "q"}))
		b.sell(b.svc, "a", map[string]string{"customer": "anna", "kind": "book"})
		b.sell(b.svc, "b", map[string]string{"customer": "bert", "kind": "book"}, workflow.WithQueue("q"))
		b.sell(b.svc, "c", map[string]string{"customer": "anna", "kind": "pen"}, workflow.WithUnique("c"))
		tx := kit.Begin(t, b.db)
		b.sell(b.svc.In(tx), "d", map[string]string{"customer": "anna", "kind": "book"})
		kit.Must(t, tx.Commit())
		tx = kit.Begin(t, b.db)
		b.sell(b.svc.In(tx), "undone", map[string]string{"customer": "anna", "kind": "book"})
		kit.Must(t, tx.Rollback())
		b.sell(b.svc, "e", nil)
		kit.Exec(t, b.db, `UPDATE workflows.workflow_runs SET created_at = 100 + ascii(id)`) // else some may be of one millisecond
		kit.Exec(t, b.db, `UPDATE workflows.workflow_attributes SET created_at = 100 + ascii(run_id)`)
		kit.Must(t, b.svc.Cancel(t.Context(), "c"))
		b.aged("child", "a", "sale", workflow.RunCompleted, 1, 1)
		b.sell(b.svc, "a", map[string]string{"customer": "nobody"}) // it is there, and stays what it is
		for _, test := range []struct {
			filter workflow.RunFilter
			want   string
		}{
			{workflow.RunFilter{Attributes: map[string]string{"customer": "anna"}}, "d c a"},
			{workflow.RunFilter{Attributes: map[string]string{"customer": "anna", "kind": "book"}}, "d a"},
			{workflow.RunFilter{Attributes: map[string]string{"customer": "bert", "kind": "book"}}, "b"},
			{workflow.RunFilter{Attributes: map[string]string{"customer": "bert", "kind": "pen"}}, ""},
			{workflow.RunFilter{Attributes: map[string]string{"kind": "anna"}}, ""},
			{workflow.RunFilter{Attributes: map[string]string{"customer": "nobody"}}, ""},
			{workflow.RunFilter{Attributes: map[string]string{"customer": "anna"}, Statuses: []workflow.RunStatus{workflow.RunPending}}, "d a"},
			{workflow.RunFilter{Attributes: map[string]string{"kind": "book"}, Queue: "q"}, "b"},
			{workflow.RunFilter{Attributes: map[string]string{"kind": "book"}, Workflow: "other"}, ""},
			{workflow.RunFilter{Attributes: map[string]string{"kind": "book"}, CreatedBefore: time.UnixMilli(100 + 'b')}, "a"},
			{workflow.RunFilter{Attributes: map[string]string{"kind": "book"}, CreatedFrom: time.UnixMilli(100 + 'b')}, "d b"},
			{workflow.RunFilter{Attributes: map[string]string{"kind": "book"}, ParentID: "a"}, ""},
			{workflow.RunFilter{ParentID: "a"}, "child"},
		} {
			for _, limit := range []int{1, 2, 100} {
				test.filter.Limit = limit
				if got := strings.Join(b.found(test.filter), " "); got != test.want {
					t.Errorf("%+v: %q, want %q", test.filter, got, test.want)
				}
			}
		}
		if diff := cmp.Diff(map[string]string{"customer": "anna", "kind": "book"}, b.attributes("a")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := b.attributes("e"); got == nil || len(got) != 0 {
			t.Errorf("a run without attributes: %v", got)
		}
		_, err := b.svc.GetAttributes(t.Context(), "undone")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
	})
}

// A run sets attributes as it goes. Called again it sets nothing that it has set before: what came later stays.
func TestRunSetsAttributes(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		kit.Exec(t, b.db, `
			CREATE TABLE trail (n BIGSERIAL PRIMARY KEY, entry TEXT);
			CREATE FUNCTION trail() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
			    INSERT INTO public.trail (entry) VALUES (NEW.name || '=' || NEW.value);
			    RETURN NEW;
			END $$;
			CREATE TRIGGER trail AFTER INSERT OR UPDATE ON workflows.workflow_attributes FOR EACH ROW EXECUTE FUNCTION trail()`)
		svc := b.service(parking)
		next := workflow.DefineSignal[int]("next")
		calls := make(chan int, 100)
		order := workflow.Define("order", func(ctx context.Context, n int) (int, error) {
			calls <- 1
			for _, stage := range []string{"asked", "paid", "sent"} {
				set := map[string]string{"stage": stage}
				switch stage {
				case "asked":
					set["never set"] = ""
				case "paid":
					set["by"], set["shop"] = "card \"<&>\" \\ ü", ""
				}
				if err := workflow.SetAttributes(ctx, "stage", set); err != nil {
					return 0, err
				}
				if _, err := next.Wait(ctx, time.Hour); err != nil {
					return 0, err
				}
			}
			return n, nil
		})
		svc.Register(order)
		kit.Work(t, svc)
		h, err := order.Start(t.Context(), svc, 1, workflow.WithAttributes(map[string]string{"shop": "1", "stage": "new"}))
		kit.Must(t, err)
		for _, stage := range []string{"asked", "paid", "sent"} {
			kit.Until(t, "the run waits", func() bool {
				return b.attributes(h.RunID())["stage"] == stage && b.get(h.RunID()).Status == workflow.RunSuspended
			})
			kit.Must(t, next.Send(t.Context(), svc, h.RunID(), 1))
		}
		_, err = h.Result(kit.Context(t))
		kit.Must(t, err)
		if len(calls) < 4 {
			t.Fatalf("the function was called %d times: it did not park", len(calls))
		}
		want := map[string]string{"stage": "sent", "by": "card \"<&>\" \\ ü"}
		if diff := cmp.Diff(want, b.attributes(h.RunID())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		trail := kit.Column[string](t, b.db, `SELECT entry FROM trail WHERE entry LIKE 'stage%' ORDER BY n`)
		if diff := cmp.Diff([]string{"stage=new", "stage=asked", "stage=paid", "stage=sent"}, trail); diff != "" {
			t.Errorf("what was written (-want +got):\n%s", diff)
		}
		steps, err := svc.ListSteps(t.Context(), h.RunID())
		kit.Must(t, err)
		if steps[0].Kind != workflow.AttributesStep || string(steps[0].Result) != `{"stage": "asked", "never set": ""}` {
			t.Errorf("%+v", steps[0])
		}
	})
}

// Whatever is about many runs knows attributes, and they go with their run.
func TestAttributesSelectAndGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i, customer := range []string{"anna", "bert", "anna", "bert", "anna"} {
		b.sell(b.svc, fmt.Sprint("run", i), map[string]string{"customer": customer, "parity": fmt.Sprint(i % 2)})
	}
	anna, bert := map[string]string{"customer": "anna"}, map[string]string{"customer": "bert", "parity": "1"}
	done, err := b.svc.CancelRuns(t.Context(), workflow.Bulk{Filter: workflow.RunFilter{Attributes: anna}})
	if kit.Must(t, err); done.Changed != 3 {
		t.Errorf("%+v", done)
	}
	_, err = b.svc.DeleteRuns(t.Context(), workflow.Bulk{Filter: workflow.RunFilter{Attributes: bert}})
	kit.Must(t, err)
	kit.Exec(t, b.db, `UPDATE workflows.workflow_runs SET created_at = 1, updated_at = 1`)
	b.aged("plain", "", "sale", workflow.RunCompleted, 40, 40)
	for _, test := range []struct {
		attributes map[string]string
		want       int64
	}{{bert, 0}, {map[string]string{"customer": "anna", "parity": "1"}, 0}, {anna, 3}, {nil, 1}} {
		done, err := b.svc.Prune(t.Context(), workflow.Prune{Before: time.Now().Add(-time.Hour), Attributes: test.attributes})
		if kit.Must(t, err); done.Runs != test.want {
			t.Errorf("%v: %+v, want %d", test.attributes, done, test.want)
		}
	}
	if n := kit.One[int](t, b.db, `SELECT count(*) FROM workflows.workflow_attributes`); n != 0 {
		t.Errorf("%d attributes are left", n)
	}
}

func TestAttributesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	many := make(map[string]string)
	for i := range 17 {
		many[fmt.Sprint("name", i)] = "value"
	}
	for _, test := range []struct {
		attributes map[string]string
		says       string
	}{
		{many, "there are 17, at most 16"},
		{map[string]string{"": "value"}, "name \"\": invalid argument: it must not be empty"},
		{map[string]string{strings.Repeat("n", 65): "value"}, "it has 65 bytes, at most 64"},
		{map[string]string{"name": strings.Repeat("v", 256)}, "it has 256 bytes, at most 255"},
		{map[string]string{"name": "\x00"}, "NUL"},
		{map[string]string{"name": "\xff"}, "UTF-8"},
	} {
		start := func() error {
			_, err := sale.Start(t.Context(), b.svc, 1, workflow.WithAttributes(test.attributes))
			return err
		}
		list := func() error {
			_, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{Attributes: test.attributes})
			return err
		}
		prune := func() error {
			_, err := b.svc.Prune(t.Context(), workflow.Prune{Before: time.Now(), Attributes: test.attributes})
			return err
		}
		set := func() error { return workflow.SetAttributes(t.Context(), "set", test.attributes) }
		for i, do := range []func() error{start, list, prune, set} {
			err := do()
			if kit.WantIs(t, err, workflow.ErrInvalidArgument); !strings.Contains(fmt.Sprint(err), test.says) {
				t.Errorf("%d: %v, want %q", i, err, test.says)
			}
		}
	}
	_, err := sale.Start(t.Context(), b.svc, 1, workflow.WithAttributes(map[string]string{"name": ""}))
	if kit.WantIs(t, err, workflow.ErrInvalidArgument); !strings.Contains(fmt.Sprint(err), `value of "name" "": invalid argument: it must not be empty`) {
		t.Error(err)
	}
	kit.WantIs(t, workflow.SetAttributes(t.Context(), "set", nil), workflow.ErrInvalidArgument)
	if err := workflow.SetAttributes(t.Context(), "set", map[string]string{"n": "v"}); err == nil || !strings.Contains(err.Error(), "outside a run") {
		t.Errorf("outside a run: %v", err)
	}
	if n := kit.One[int](t, b.db, `SELECT count(*) FROM workflows.workflow_attributes`); n != 0 {
		t.Errorf("%d attributes were written", n)
	}
}
