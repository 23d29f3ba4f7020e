package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// parkedRun creates a run that waits for what is given.
func (b *bundle) parkedRun(t *testing.T, st *store.Store, park store.Park) (id string) {
	t.Helper()
	id = b.ownedRun(t)
	park.Owned = store.Owned{RunID: id, Epoch: 1}
	outcomes, err := st.Write(t.Context(), []store.Write{&park})
	kit.Must(t, err)
	if outcomes[0] != store.Written {
		t.Fatalf("park: %v", outcomes[0])
	}
	return id
}

// send sends a signal with the payload 1.
func send(t *testing.T, st *store.Store, id, name, key string) (sent bool, err error) {
	t.Helper()
	return st.SendSignal(t.Context(), store.NewSignal{RunID: id, Name: name, Key: key, Payload: json.RawMessage("1")})
}

func mustSend(t *testing.T, st *store.Store, id, name, key string) {
	t.Helper()
	sent, err := send(t, st, id, name, key)
	kit.Must(t, err)
	if !sent {
		t.Errorf("signal %q with key %q was not sent", name, key)
	}
}

// stand is how a run stands: what came, whether it may be claimed now, later or never, and what it waits for.
func (b *bundle) stand(t *testing.T, id string) string {
	t.Helper()
	return kit.One[string](t, b.side, `
		SELECT concat_ws(' ', status, suspended_for, wake_seq,
		       CASE WHEN run_at IS NULL THEN 'never' WHEN run_at <= extract(epoch FROM clock_timestamp()) * 1000 THEN 'now' ELSE 'later' END,
		       waits_for::text)
		FROM workflows.workflow_runs
		WHERE id = $1`, id)
}

// A signal makes a run runnable that is parked on it, and no other; it counts in any case.
func TestSignalWakes(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		hour := time.Hour
		parked := func(wakeIn *time.Duration, waitsFor ...string) func(*testing.T) string {
			return func(t *testing.T) string {
				return b.parkedRun(t, st, store.Park{WakeIn: wakeIn, For: store.ForSignal, WaitsFor: waitsFor})
			}
		}
		blocked := func(t *testing.T) string {
			id := b.ownedRun(t)
			_, err := st.BlockRun(t.Context(), store.Owned{RunID: id, Epoch: 1}, &store.Error{Message: "cannot"}, hour)
			kit.Must(t, err)
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET run_at = run_at + 3600000 WHERE id = $1`, id)
			return id
		}
		for name, test := range map[string]struct {
			run  func(*testing.T) string
			want string
		}{
			"parked on it, for ever":         {parked(nil, "signal:a"), `suspended signal 1 now {signal:a}`},
			"parked on it, with a time-out":  {parked(&hour, "signal:a"), `suspended signal 1 now {signal:a}`},
			"parked on it among others":      {parked(nil, "step:x", "signal:a", "signal:b"), `suspended signal 1 now {step:x,signal:a,signal:b}`},
			"parked on another":              {parked(nil, "signal:b", "step:a"), `suspended signal 1 never {signal:b,step:a}`},
			"parked on another, for a while": {parked(&hour, "signal:b"), `suspended signal 1 later {signal:b}`},
			"parked on a time":               {parked(&hour), `suspended signal 1 later`},
			"owned":                          {b.ownedRun, `running 1 never`},
			"pending":                        {b.newRun, `pending 1 now`},
			"suspended by hand":              {func(t *testing.T) string { return b.runIn(t, workflow.RunSuspended) }, `suspended by_hand 1 never`},
			"running by hand":                {func(t *testing.T) string { return b.runIn(t, workflow.RunRunning) }, `running 1 never`},
			"blocked":                        {blocked, `suspended blocked 1 later`},
		} {
			for _, in := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, in a transaction %t", name, in), func(t *testing.T) {
					id, on := test.run(t), st
					var tx *sql.Tx
					if in {
						tx = kit.Begin(t, b.db)
						on = st.In(tx)
					}
					mustSend(t, on, id, "a", "")
					if in {
						kit.Must(t, tx.Commit())
					}
					if got := b.stand(t, id); got != test.want {
						t.Errorf("got  %s\nwant %s", got, test.want)
					}
				})
			}
		}
	})
}

// A run that waits for a time that has come, or for its deadline, keeps that: it is not put behind others.
func TestSignalKeepsAnEarlierTime(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.PGX)
	st := writer(t, b)
	moment := time.Millisecond
	id := b.parkedRun(t, st, store.Park{WakeIn: &moment, For: store.ForSignal, WaitsFor: []string{"signal:a"}})
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET run_at = 7 WHERE id = $1`, id)
	mustSend(t, st, id, "a", "")
	if at := kit.One[int64](t, b.side, `SELECT run_at FROM workflows.workflow_runs`); at != 7 {
		t.Errorf("a run that was due at 7 is due at %d", at)
	}
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'me', run_at = NULL, deadline_at = 9, wake_seq = 0`)
	hour := time.Hour
	for _, wakeIn := range []*time.Duration{nil, &hour} {
		owned := store.Owned{RunID: id, Epoch: kit.One[int64](t, b.side, `SELECT epoch FROM workflows.workflow_runs`)}
		outcomes, err := st.Write(t.Context(), []store.Write{&store.Park{Owned: owned, WakeIn: wakeIn, WaitsFor: []string{"signal:a"}}})
		kit.Must(t, err)
		if at := kit.One[int64](t, b.side, `SELECT run_at FROM workflows.workflow_runs`); outcomes[0] != store.Written || at != 9 {
			t.Errorf("%v: a run with its deadline at 9 is due at %d", outcomes[0], at)
		}
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'running', run_at = NULL`)
	}
}

// The signals of a run are numbered in the order in which they were sent, and know the steps that took them.
func TestListSignals(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id, other := b.ownedRun(t), b.ownedRun(t)
		if signals, err := st.ListSignals(t.Context(), id); err != nil || len(signals) > 0 {
			t.Errorf("before: %v, %v", signals, err)
		}
		mustSend(t, st, id, "a", "k1")
		mustSend(t, st, other, "a", "k1")
		mustSend(t, st, id, "b", "k1")
		mustSend(t, st, id, "a", "")
		mustSend(t, st, id, "a", "")
		wrote(t, st, store.Written, &store.Take{
			Owned: store.Owned{RunID: id, Epoch: 1}, Name: "wait", Kind: store.SignalStep, Result: json.RawMessage("1"), SignalSeq: 3,
		})
		signals, err := st.ListSignals(t.Context(), id)
		kit.Must(t, err)
		one := json.RawMessage("1")
		want := []store.Signal{
			{RunID: id, Name: "a", Key: "k1", Seq: 1, Payload: one},
			{RunID: id, Name: "b", Key: "k1", Seq: 2, Payload: one},
			{RunID: id, Name: "a", Seq: 3, Payload: one, TakenBy: "wait"},
			{RunID: id, Name: "a", Seq: 4, Payload: one},
		}
		if diff := cmp.Diff(want, signals, cmpopts.IgnoreFields(store.Signal{}, "SentAt")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, signal := range signals {
			if since := time.Since(signal.SentAt); since < -time.Minute || since > time.Minute {
				t.Errorf("sent at %v", signal.SentAt)
			}
		}
		_, err = st.ListSignals(t.Context(), "nobody")
		kit.WantIs(t, err, store.ErrRunNotFound)
	})
}

// wrote writes rows, together, and wants the same of each.
func wrote(t *testing.T, st *store.Store, want store.Outcome, rows ...store.Write) {
	t.Helper()
	outcomes, err := st.Write(t.Context(), rows)
	kit.Must(t, err)
	for i, outcome := range outcomes {
		if outcome != want {
			t.Errorf("%T: %v, want %v", rows[i], outcome, want)
		}
	}
}

// A key is sent once for each run and name, whoever sends it again, and again when the run has finished: that neither counts nor
// wakes. Another signal to a finished run, or to none, is an expected error, and a transaction of the caller goes on.
func TestSignalIsRefused(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for _, in := range []bool{false, true} {
			b := setup(t, access)
			st := writer(t, b)
			id := b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:b"}})
			mustSend(t, st, id, "a", "k")
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET waits_for = '{signal:a}'`)
			on, commit := st, func() error { return nil }
			if in {
				tx := kit.Begin(t, b.db)
				on, commit = st.In(tx), tx.Commit
			}
			again := func(when string) {
				t.Helper()
				if sent, err := send(t, on, id, "a", "k"); sent || err != nil {
					t.Errorf("again, %s: sent %t, %v", when, sent, err)
				}
			}
			again("to a run that waits")
			if got, want := b.stand(t, id), "suspended signal 1 never {signal:a}"; got != want {
				t.Errorf("after a key again\ngot  %s\nwant %s", got, want)
			}
			kit.Must(t, commit())

			if in {
				tx := kit.Begin(t, b.db)
				on, commit = st.In(tx), tx.Commit
			}
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'completed', waits_for = NULL`)
			again("to a finished run")
			for _, key := range []string{"", "k2"} {
				_, err := send(t, on, id, "a", key)
				kit.WantIs(t, err, store.ErrRunFinished)
			}
			_, err := send(t, on, id, "b", "k") // of another name
			kit.WantIs(t, err, store.ErrRunFinished)
			_, err = send(t, on, "nobody", "a", "k")
			kit.WantIs(t, err, store.ErrRunNotFound)
			alive := b.newRun(t)
			mustSend(t, on, alive, "a", "k")
			kit.Must(t, commit())
			if got := kit.One[string](t, b.side, `SELECT string_agg(name || seq || key, ' ' ORDER BY run_id = $1)
				FROM workflows.workflow_signals`, alive); got != "a1k a1k" {
				t.Errorf("signals %s, want the first one and that of the other run", got)
			}
		}
	})
}
