package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// announcing is a store, and what one look for runs to announce finds.
func announcing(t *testing.T, b *bundle) (*store.Store, func(after time.Duration) []string) {
	st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: kit.Patience, Lease: lease})
	return st, func(after time.Duration) []string {
		t.Helper()
		found, err := st.Announce(t.Context(), store.AnnounceRequest{Limit: 100, After: after, Again: true})
		kit.Must(t, err)
		ids := found.IDs()
		slices.Sort(ids)
		return ids
	}
}

// A run is announced when it is due and was not announced for it, and again after as long as it had waited by then.
func TestAnnounce(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		_, announce := announcing(t, b)
		// In minutes from now: when the run was or is due, and when it was announced.
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, dispatched_at)
			SELECT id, 'w', status, '1', 1, 1, now + due * 60000, coalesce(now + announced * 60000, never)
			FROM (SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS now) AS clock,
			     (VALUES
			          ('not announced', 'pending', -10, NULL, 0),
			          ('woken since', 'suspended', -10, -11, NULL),
			          ('long ago', 'pending', -10, -7, NULL),
			          ('hours ago', 'pending', -1000, -61, NULL),
			          ('not due', 'pending', 1, NULL, 0),
			          ('announced', 'pending', -2, -2, NULL),
			          ('waits in the queue', 'pending', -10, -4, NULL),
			          ('waits there for hours', 'pending', -1000, -59, NULL),
			          ('waits for something', 'suspended', NULL, NULL, 0),
			          ('for workers', 'pending', -10, NULL, NULL),
			          ('runs', 'running', NULL, NULL, 0),
			          ('has ended', 'completed', NULL, NULL, 0)
			     ) AS run (id, status, due, announced, never)`)
		want := []string{"hours ago", "long ago", "not announced", "woken since"}
		if diff := cmp.Diff(want, announce(3*time.Minute)); diff != "" {
			t.Errorf("announced (-want +got):\n%s", diff)
		}
		if got := announce(3 * time.Minute); len(got) > 0 {
			t.Errorf("announced at once again: %q", got)
		}
		if got := announce(time.Minute); !slices.Equal(got, []string{"announced"}) {
			t.Errorf("announced again after a minute: %q, want the one that was announced when it was due", got)
		}
	})
}

// What a transaction of ours announces is not announced if that is rolled back, and is nobody else's meanwhile; what was announced in vain
// is announced again.
func TestAnnounceInATransaction(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st, announce := announcing(t, b)
		_, err := st.CreateRun(t.Context(), store.NewRun{
			ID: "r", Workflow: "w", Input: []byte("1"), Dispatched: store.Unannounced,
		})
		kit.Must(t, err)
		refused := errors.New("refused")
		err = st.InTransaction(t.Context(), "dispatch", func(_ context.Context, on *store.Store) error {
			found, err := on.Announce(t.Context(), store.AnnounceRequest{Limit: 1})
			kit.Must(t, err)
			if got := found.IDs(); !slices.Equal(got, []string{"r"}) {
				t.Errorf("announced %q", got)
			}
			if got := announce(time.Hour); len(got) > 0 {
				t.Errorf("announced twice at once: %q", got)
			}
			return refused
		})
		kit.WantIs(t, err, refused)
		if got := announce(time.Hour); !slices.Equal(got, []string{"r"}) {
			t.Errorf("announced %q after the rollback", got)
		}
		kit.Must(t, st.TakeBackAnnouncements(t.Context(), []string{"r", "nobody"}))
		if got := announce(time.Hour); !slices.Equal(got, []string{"r"}) {
			t.Errorf("announced %q after it was taken back", got)
		}
		if got := announce(time.Hour); len(got) > 0 {
			t.Errorf("announced once more: %q", got)
		}
	})
}

// A look that finds nothing takes no transaction id, writes no WAL and reads a few pages, however many runs were announced and wait in
// the queue, wait for a time, or have ended.
func TestEmptyAnnounceWritesNothing(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, dispatched_at)
		SELECT 'waits' || n, 'w', 'pending', '1'::jsonb, 1, 1, now - 1000 * n, now - 500 * n
		FROM (SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS now) AS clock, generate_series(1, 4000) AS n
		UNION ALL
		SELECT 'parked' || n, 'w', 'suspended', '1'::jsonb, 1, 1, 9000000000000 + n, 0 FROM generate_series(1, 20000) AS n
		UNION ALL
		SELECT 'done' || n, 'w', 'completed', '1'::jsonb, 1, 1, NULL, 0 FROM generate_series(1, 20000) AS n
		UNION ALL
		SELECT 'other' || n, 'w', 'pending', '1'::jsonb, 1, 1, n, NULL FROM generate_series(1, 20000) AS n`)
	text := statement(t, counter, "announce_runs", func() error {
		found, err := st.Announce(t.Context(), store.AnnounceRequest{Limit: 100, After: time.Hour, Again: true})
		if err == nil && len(found.IDs()) > 0 {
			t.Fatalf("announced %q", found.IDs())
		}
		return err
	})
	for _, analysed := range []bool{false, true} {
		if analysed {
			kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs")
		}
		for _, again := range []string{"f", "t"} {
			what, most := fmt.Sprintf("analysed %t, again %s: an empty look", analysed, again), limit{pages: map[string]int{"f": 12, "t": 200}[again]}
			got := least(t, what, most, func() spent {
				got := b.spendsOf(t, text, "100", "0", "3600000", "{}", again, "0")
				if got.xid {
					t.Errorf("%s has a transaction id", what)
				}
				return got
			})
			if !got.within(most) {
				t.Errorf("%s: %d bytes of WAL, %d pages; want none, and %d at most:\n%s", what, got.wal, got.pages, most.pages, got.plan)
			}
		}
	}
}

// oneRun is a request for a run of workflow "w", whatever became of its workers.
func oneRun(worker, id string) store.RunRequest {
	return store.RunRequest{Worker: worker, RunID: id, Workflows: []string{"w"}, Suspects: true}
}
