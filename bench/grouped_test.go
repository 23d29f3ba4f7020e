package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A second statement goes beside the first when many rows wait, and no third one.
func TestGroupSendsAsTheLibraryDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := make(chan int, 3*maxBatch)
		goOn := make(chan bool)
		g := &group{send: func(batch []row) error {
			sent <- len(batch)
			<-goOn
			return nil
		}}
		add := func(n int) {
			for range n {
				g.add(row{done: make(chan error, 1)})
			}
			synctest.Wait()
		}
		add(1)
		if len(sent) != 1 {
			t.Errorf("%d statements for a row that is alone", len(sent))
		}
		add(secondFrom - 1)
		if len(sent) != 1 {
			t.Errorf("%d statements while a few rows wait", len(sent))
		}
		add(1)
		add(maxBatch + 1)
		if len(sent) != flushers {
			t.Errorf("%d statements while many rows wait", len(sent))
		}
		close(goOn)
		synctest.Wait()
		want := []int{1, secondFrom, maxBatch, 1}
		for _, n := range want {
			if got := <-sent; got != n {
				t.Errorf("a statement of %d rows, want %d of %v", got, n, want)
			}
		}
		if len(sent) != 0 || g.sending != 0 || len(g.waiting) != 0 {
			t.Errorf("%d statements more, %d under way, %d rows", len(sent), g.sending, len(g.waiting))
		}
	})
}

// Each bare loop records what the library does; the one without the guard asks for nothing and locks nothing.
func TestBareLoops(t *testing.T) {
	for _, c := range contestants {
		if !strings.HasPrefix(c.name, "bare loop") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pg := pgtest.New(t)
			sys, err := c.open(t.Context(), pg.AccessURL(t, pgtest.PGX), 1)
			if err != nil {
				t.Fatal(err)
			}
			defer sys.Close()
			const runs = 300
			if err := inParallel(t.Context(), runs, func(ctx context.Context, _ int) error { return sys.Run(ctx) }); err != nil {
				t.Fatal(err)
			}
			var completed, steps int
			err = pg.Open(t, pgtest.PGX).QueryRowContext(t.Context(), `
				SELECT (SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed' AND output = '10' AND owner IS NULL),
				       (SELECT count(*) FROM workflows.workflow_steps WHERE status = 'succeeded' AND length(result #>> '{}') = 100)`).Scan(&completed, &steps)
			if err != nil || completed != runs || steps != runs*stepsPerRun {
				t.Errorf("%d runs and %d steps, %v", completed, steps, err)
			}
			for _, text := range append(sys.(*bare).texts.alone[1:], sys.(*bare).texts.grouped[2:]...) {
				if guarded := strings.Contains(text, "SKIP LOCKED"); guarded == (c.name == unguarded) {
					t.Errorf("guarded: %t\n%s", guarded, text)
				}
			}
		})
	}
}
