package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

func schedule(name string) store.WorkflowSchedule {
	return store.WorkflowSchedule{
		Name: name, Workflow: "w", Timing: store.Timing{Every: time.Hour}, Overlap: store.OverlapAllow, Input: json.RawMessage("1"),
	}
}

// tickOf is the tick of a schedule as it was read.
func tickOf(due store.DueSchedule) store.Tick {
	return store.Tick{
		Schedule: due, At: due.NextAt, RunID: due.Name + "/" + strconv.FormatInt(due.NextAt.UnixMilli(), 10),
		Following: time.Now().Add(time.Hour), Missed: 1,
	}
}

// However many look at once, on either driver, and send the same tick again: each tick has one run, and is counted once.
func TestTickIsOne(t *testing.T) {
	t.Parallel()
	ticks := 60
	switch {
	case pgtest.Soak():
		ticks = 2000
	case pgtest.Full():
		ticks = 150
	}
	database := pgtest.New(t)
	b := on(t, database, pgtest.PGX)
	var stores []*store.Store
	for i := range 8 {
		access, statements := pgtest.PGX, store.Single
		if i%2 == 0 {
			access, statements = pgtest.PQ, store.InTx
		}
		stores = append(stores, store.New(database.Open(t, access), store.Options{
			Schema: "workflows", Statements: statements, Timeout: kit.Patience, LockTimeout: kit.Patience, Lease: lease,
		}))
	}
	names := []string{"allow", string(store.OverlapCancelOther)}
	for _, name := range names {
		s := schedule(name)
		s.Overlap = store.Overlap(name)
		kit.Must(t, stores[0].SetSchedule(t.Context(), s, time.Now().Add(time.Hour)))
	}
	for n := range ticks {
		kit.Exec(t, b.side, `UPDATE workflows.workflow_schedules SET next_at = $1`, 1_000_000_000_000+n)
		started := make(chan string, 100)
		for _, err := range kit.Together(len(stores), func(i int) error {
			due, err := stores[i].DueSchedules(t.Context(), nil)
			for _, s := range due.Schedules {
				for range 2 {
					ticked, problem := stores[i].Tick(t.Context(), tickOf(s))
					if problem != nil {
						return problem
					}
					if ticked.Started {
						started <- s.Name
					}
				}
			}
			return err
		}) {
			kit.Must(t, err)
		}
		if len(started) != len(names) {
			t.Fatalf("tick %d: %d runs were started, want %d", n, len(started), len(names))
		}
	}
	for _, name := range names {
		got := kit.One[string](t, b.side, `
			SELECT started || ' ' || missed || ' ' || taken || ' ' || overlapped || ' ' || (
			    SELECT count(*) || ' ' || count(*) FILTER (WHERE status = 'pending')
			    FROM workflows.workflow_runs WHERE id LIKE schedule.name || '/%')
			FROM workflows.workflow_schedules AS schedule WHERE name = $1`, name)
		unfinished := ticks
		if name != "allow" {
			unfinished = 1
		}
		if want := fmt.Sprintf("%d %d 0 0 %d %d", ticks, ticks, ticks, unfinished); got != want {
			t.Errorf("%s: started, missed, taken, overlapped, runs, unfinished: %s, want %s", name, got, want)
		}
	}
}

// What has been read, and is no longer so, starts nothing: the schedule was paused or set anew, its last run is another one, or it was
// deleted. What somebody else holds is left.
func TestTickOfWhatIsNoLongerSo(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: short, Lease: lease})
		ctx := t.Context()
		past := func(s store.WorkflowSchedule) store.DueSchedule {
			t.Helper()
			kit.Must(t, st.SetSchedule(ctx, s, time.UnixMilli(1_000_000_000_000)))
			due, err := st.DueSchedules(ctx, nil)
			kit.Must(t, err)
			named := func(due store.DueSchedule) bool { return due.Name == s.Name }
			n := slices.IndexFunc(due.Schedules, named)
			others, err := st.DueSchedules(ctx, []string{s.Name})
			kit.Must(t, err)
			if n < 0 || due.NextIn != 0 || slices.ContainsFunc(others.Schedules, named) {
				t.Fatalf("due: %+v, but for one: %+v", due, others)
			}
			return due.Schedules[n]
		}
		for name, change := range map[string]func(name string){
			"paused": func(name string) { kit.Must(t, st.PauseSchedule(ctx, name)) },
			"set anew": func(name string) {
				anew := schedule(name)
				anew.Every = time.Minute
				kit.Must(t, st.SetSchedule(ctx, anew, time.UnixMilli(5)))
			},
			"triggered": func(name string) {
				_, _, err := st.Trigger(ctx, name, store.Tick{At: time.Now(), RunID: name + "/x"})
				kit.Must(t, err)
			},
			"deleted": func(name string) { kit.Must(t, st.DeleteSchedule(ctx, name)) },
			"held": func(name string) {
				tx := kit.Begin(t, b.side)
				kit.Exec(t, tx, `SELECT name FROM workflows.workflow_schedules WHERE name = $1 FOR UPDATE`, name)
				app := kit.Begin(t, b.db)
				_, _, err := st.In(app).Trigger(ctx, name, store.Tick{At: time.Now(), RunID: "by hand"})
				kit.WantIs(t, err, store.ErrLockTimeout)
				kit.Exec(t, app, `SELECT 1`) // it is usable
			},
		} {
			due := past(schedule(name))
			change(name)
			kept, err := st.Tick(ctx, tickOf(due))
			kit.Must(t, err)
			if !kept.Kept || kept.Started {
				t.Errorf("%s: %+v", name, kept)
			}
		}
	})
}

// A tick that is to cancel the last run leaves all as it was while somebody holds that, and waits for nobody.
func TestTickBesideAHeldRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: short, Lease: lease})
		s := schedule("s")
		s.Overlap = store.OverlapCancelOther
		kit.Must(t, st.SetSchedule(t.Context(), s, time.UnixMilli(1_000_000_000_000)))
		first := b.newRun(t)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_schedules SET last_run_id = $1`, first)
		release := b.holdRow(t, first)
		due, err := st.DueSchedules(t.Context(), nil)
		kit.Must(t, err)
		for _, held := range []bool{true, false} {
			if !held {
				release()
			}
			ticked, err := st.Tick(t.Context(), tickOf(due.Schedules[0]))
			kit.Must(t, err)
			if ticked.Kept != held || ticked.Started == held || (len(ticked.Cancelled) == 1) == held {
				t.Errorf("held %t: %+v", held, ticked)
			}
			want := map[bool]string{true: "pending", false: "cancelled"}[held]
			got := kit.One[string](t, b.side, `SELECT string_agg(status, ' ' ORDER BY status) FROM workflows.workflow_runs WHERE id = $1`, first)
			if got != want {
				t.Errorf("held %t: the last run is %s, want %s", held, got, want)
			}
		}
	})
}

// Among thousands of schedules and many runs a look at what is due, and a tick, read a few pages, planned on empty tables as well. A look
// that finds nothing takes no transaction id and writes nothing.
func TestTickPlans(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	worker(t, st, "me")
	texts := map[string]string{
		"due_schedules": statement(t, counter, "due_schedules", func() error { _, err := st.DueSchedules(t.Context(), nil); return err }),
		"tick_schedule": statement(t, counter, "tick_schedule", func() error {
			_, err := st.Tick(t.Context(), store.Tick{Schedule: store.DueSchedule{Name: "none"}})
			return err
		}),
	}
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	defer func() { kit.Must(t, conn.Close()) }()
	kit.Exec(t, conn, "SET plan_cache_mode = force_generic_plan")
	const look = "EXECUTE due_schedules (100, '{}')"
	const tick = "EXECUTE tick_schedule ('s77', %s, 'done77', false, 1, 's77/1', 0, NULL, NULL, 9, 0, 0, false, NULL)"
	for name, text := range texts {
		kit.Exec(t, conn, "PREPARE "+name+" AS "+text)
	}
	kit.Exec(t, conn, "EXPLAIN "+look)
	kit.Exec(t, conn, "EXPLAIN "+fmt.Sprintf(tick, "7"))
	kit.Exec(t, b.side, full)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_schedules
		    (created_at, updated_at, catch_up, jitter, name, workflow, every, zone, overlap, input, next_at, last_run_id)
		SELECT 0, 0, 0, 0, 's' || n, 'w', 1000, '', 'skip', '1', 9000000000000 + n, 'done' || n FROM generate_series(1, 5000) AS n`)
	for _, analysed := range []bool{false, true} {
		if analysed {
			kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_schedules")
		}
		for _, test := range []struct {
			name, execute string
			most          limit
		}{
			{"a look", look, limit{8, 0}},
			{"a tick", fmt.Sprintf(tick, "9000000000077"), limit{80, 3000}},
			{"a tick that was another's", fmt.Sprintf(tick, "5"), limit{10, 0}},
		} {
			what := fmt.Sprintf("%s, analysed %t", test.name, analysed)
			if got := leastPrepared(t, conn, what, test.execute, test.most); len(got.plan.scans()) > 0 {
				t.Errorf("%s: reads all of %v:\n%s", what, got.plan.scans(), got.plan)
			}
		}
	}
}
