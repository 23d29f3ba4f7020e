package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// inbox returns what has come, in short: signals as name:seq, steps as name status, ends as step>run status.
func inbox(t *testing.T, st *store.Store, request store.InboxRequest) string {
	t.Helper()
	got, err := st.ReadInbox(t.Context(), request)
	kit.Must(t, err)
	said := []string{fmt.Sprint("wake ", got.WakeSeq)}
	for _, signal := range got.Signals {
		said = append(said, fmt.Sprint(signal.Name, ":", signal.Seq))
	}
	var rest []string
	for _, step := range got.Steps {
		rest = append(rest, step.Name+" "+string(step.Status))
	}
	for _, end := range got.Children {
		rest = append(rest, end.Step+">"+end.Run.ID+" "+string(end.Run.Status)+" "+string(end.Run.Output))
	}
	slices.Sort(rest)
	return strings.Join(append(said, rest...), ", ")
}

// An inbox has the signals that are wanted, the oldest first, and the steps that are wanted, with the ends of their children once
// all of them have ended.
func TestReadInbox(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id, other := b.ownedRun(t), b.ownedRun(t)
		for _, name := range []string{"a", "b", "a", "c", "a"} {
			mustSend(t, st, id, name, "")
			mustSend(t, st, other, name, "")
		}
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, updated_at, waiting, child_id)
			VALUES ($1, 'open', 'scheduled', 'signal', 1, 1, NULL, NULL),
			       ($1, 'some left', 'scheduled', 'call', 2, 1, 1, 'c1'),
			       ($1, 'none left', 'scheduled', 'call', 3, 1, 0, 'c3'),
			       ($1, 'from outside', 'succeeded', 'call', 4, 1, 0, 'c5'),
			       ($1, 'not wanted', 'scheduled', 'call', 5, 1, 0, 'c6')`, id)
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, parent_id, parent_step)
			SELECT child, 'w', status, '1', output::jsonb, 1, 1, $1, step
			FROM (VALUES ('c1', 'completed', '1', 'some left'), ('c2', 'running', NULL, 'some left'), ('c3', 'completed', '3', 'none left'),
			             ('c4', 'cancelled', NULL, 'none left'), ('c5', 'completed', '5', 'from outside'), ('c6', 'failed', NULL, 'not wanted'))
			     AS given (child, status, output, step)`, id)
		for name, test := range map[string]struct {
			request store.InboxRequest
			want    string
		}{
			"nothing":      {store.InboxRequest{}, "wake 5"},
			"one signal":   {store.InboxRequest{After: map[string]int64{"a": 0}}, "wake 5, a:1, a:3, a:5"},
			"those after":  {store.InboxRequest{After: map[string]int64{"a": 1, "b": 2, "d": 0}}, "wake 5, a:3, a:5"},
			"two signals":  {store.InboxRequest{After: map[string]int64{"c": 0, "b": 0}}, "wake 5, b:2, c:4"},
			"an open step": {store.InboxRequest{Steps: []string{"open", "never"}}, "wake 5, open scheduled"},
			"steps": {
				store.InboxRequest{Steps: []string{"some left", "none left", "from outside"}},
				"wake 5, from outside succeeded, none left scheduled, none left>c3 completed 3, none left>c4 cancelled , some left scheduled",
			},
			"all": {
				store.InboxRequest{After: map[string]int64{"a": 3}, Steps: []string{"none left", "open"}},
				"wake 5, a:5, none left scheduled, none left>c3 completed 3, none left>c4 cancelled , open scheduled",
			},
		} {
			test.request.RunID = id
			if got := inbox(t, st, test.request); got != test.want {
				t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
			}
		}
		_, err := st.ReadInbox(t.Context(), store.InboxRequest{RunID: "nobody"})
		kit.WantIs(t, err, store.ErrRunNotFound)
		got, err := st.WakeSeqs(t.Context(), []string{other, "nobody", "c1", id})
		kit.Must(t, err)
		if diff := cmp.Diff(map[string]int64{id: 5, other: 5, "c1": 0}, got); diff != "" {
			t.Errorf("wake_seq by run (-want +got):\n%s", diff)
		}
	})
}

// Of one name an inbox has the oldest hundred, however many there are, and of each name its own.
func TestReadInboxOfMany(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.PGX)
	st := writer(t, b)
	id := b.ownedRun(t)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_signals (run_id, name, seq, payload, sent_at)
		SELECT $1, CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END, n, to_jsonb(n), 1
		FROM generate_series(1, 1000) AS n`, id)
	got, err := st.ReadInbox(t.Context(), store.InboxRequest{RunID: id, After: map[string]int64{"even": 100, "odd": 7, "none": 0}})
	kit.Must(t, err)
	next := map[string]int64{"even": 102, "odd": 9}
	for _, signal := range got.Signals {
		if signal.Seq != next[signal.Name] || string(signal.Payload) != fmt.Sprint(signal.Seq) {
			t.Fatalf("signal %+v, want number %d", signal, next[signal.Name])
		}
		next[signal.Name] += 2
	}
	if diff := cmp.Diff(map[string]int64{"even": 302, "odd": 209}, next); diff != "" {
		t.Errorf("the next of each name (-want +got):\n%s", diff)
	}
	if !slices.IsSortedFunc(got.Signals, func(a, b store.Signal) int { return int(a.Seq - b.Seq) }) {
		t.Error("the oldest is not the first")
	}
}

// A take closes the wait that is open and keeps what is known of it, or records one that was over at once; the first outcome
// stays.
func TestTake(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for _, together := range []bool{false, true} {
			id, bystander := b.ownedRun(t), b.ownedRun(t)
			kit.Exec(t, b.side, `
				INSERT INTO workflows.workflow_steps
				    (run_id, step_name, status, kind, seq, started_at, updated_at, wake_at, waiting, child_id, request)
				VALUES ($1, 'taken', 'scheduled', 'signal', 1, 7, 8, 9, NULL, NULL, NULL),
				       ($1, 'late', 'scheduled', 'approval', 2, 7, 8, 9, NULL, NULL, '"who"'),
				       ($1, 'called', 'scheduled', 'call', 3, 7, 8, NULL, 0, 'child', NULL),
				       ($1, 'before', 'succeeded', 'signal', 4, 7, 8, 9, NULL, NULL, NULL),
				       ($1, 'failed before', 'failed', 'signal', 5, 7, 8, 9, NULL, NULL, NULL)`, id)
			owned, seen := store.Owned{RunID: id, Epoch: 1}, int64(0)
			take := func(name string, kind store.StepKind, seq int) *store.Take {
				return &store.Take{Owned: owned, Name: name, Kind: kind, Seq: seq, Took: 1000e6, Result: json.RawMessage(`"r"`)}
			}
			taken, late, called := take("taken", store.SignalStep, 1), take("late", store.ApprovalStep, 2), take("called", "call", 3)
			before, lost, atOnce := take("before", store.SignalStep, 4), take("failed before", store.SignalStep, 5), take("at once", store.SignalStep, 6)
			taken.SignalSeq, atOnce.SignalSeq = 41, 42
			late.Result, late.Err, late.WakeSeq = nil, &store.Error{Code: "timeout"}, &seen
			rows := []store.Write{taken, late, called, atOnce}
			if together {
				rows = append(rows, &store.Checkpoint{Owned: store.Owned{RunID: bystander, Epoch: 1}, Name: "s", Result: json.RawMessage("1")})
				wrote(t, st, store.Written, rows...)
				outcomes, err := st.Write(t.Context(), []store.Write{lost, before})
				kit.Must(t, err)
				if !slices.Equal(outcomes, []store.Outcome{store.Exists, store.Exists}) {
					t.Errorf("what has succeeded before: %v", outcomes)
				}
			} else {
				for _, row := range rows {
					wrote(t, st, store.Written, row)
				}
				for _, row := range []store.Write{before, lost, taken, late} {
					wrote(t, st, store.Exists, row)
				}
			}
			got := kit.Column[string](t, b.side, `
				SELECT concat_ws(' ', step_name, status, kind, seq, CASE WHEN started_at = 7 THEN '7' ELSE 'took ' || updated_at - started_at END,
				       wake_at, waiting, child_id, request, result, error, signal_seq)
				FROM workflows.workflow_steps
				WHERE run_id = $1
				ORDER BY seq`, id)
			want := []string{
				`taken succeeded signal 1 7 9 "r" 41`,
				`late failed approval 2 7 9 "who" {"code": "timeout", "message": ""}`,
				`called succeeded call 3 7 0 child "r"`,
				`before succeeded signal 4 7 9`,
				`failed before failed signal 5 7 9`,
				`at once succeeded signal 6 took 1000 "r" 42`,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("together %t (-want +got):\n%s", together, diff)
			}
		}
	})
}

// A claimed run waits for nothing any more, nor does one that was moved by hand or has ended, and its parent is known.
func TestWhatNoLongerWaits(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.PGX)
	st := writer(t, b)
	worker(t, st, "me")
	parked := func() string {
		return b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:a", `step:with "quotes", {braces}\`}})
	}
	id := parked()
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET parent_id = 'parent', parent_step = 'step', depth = 3, run_at = 1`)
	if got := kit.One[string](t, b.side, `SELECT waits_for[2] FROM workflows.workflow_runs`); got != `step:with "quotes", {braces}\` {
		t.Errorf("waits for %s", got)
	}
	got := claim(t, st, "me")
	if got.RunID != id || got.ParentID != "parent" || got.ParentStep != "step" || got.Depth != 3 {
		t.Errorf("claimed %+v", got)
	}
	for what, move := range map[string]func(id string) error{
		"moved by hand": func(id string) error { return st.UpdateRunStatus(t.Context(), id, store.RunRunning, nil, nil) },
		"ended by hand": func(id string) error { return st.UpdateRunStatus(t.Context(), id, store.RunFailed, nil, nil) },
		"cancelled":     func(id string) error { _, err := st.CancelRun(t.Context(), id); return err },
	} {
		id := parked()
		kit.Must(t, move(id))
		if kit.One[bool](t, b.side, `SELECT waits_for IS NOT NULL FROM workflows.workflow_runs WHERE id = $1`, id) {
			t.Errorf("%s: it waits", what)
		}
	}
	if kit.One[bool](t, b.side, `SELECT waits_for IS NOT NULL FROM workflows.workflow_runs WHERE id = $1`, id) {
		t.Error("claimed: it waits")
	}
}

// The children of a step have not all ended when one was resumed while the inbox was read.
func TestInboxOfAResumedChild(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.ownedRun(t)
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, updated_at, waiting, child_id)
			VALUES ($1, 's', 'scheduled', 'call', 1, 1, 0, $1 || '.c')`, id)
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
			VALUES ($1 || '.c', 'w', 'pending', '1', 1, 1, $1, 's')`, id)
		got, err := st.ReadInbox(t.Context(), store.InboxRequest{RunID: id, Steps: []string{"s"}})
		kit.Must(t, err)
		if got.Steps[0].Waiting != 1 {
			t.Errorf("%+v, want a step that waits", got.Steps)
		}
	})
}
