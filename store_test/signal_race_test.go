package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// progress is how many wanted signals a run was sent, as far as their senders know, and has taken.
type progress struct{ acked, taken atomic.Int64 }

// A race is many senders and many owners at a few runs. Each run wants so many signals "wanted", and is sent others too: the
// owners take them one by one, give up waiting now and then, park, and lose their runs to others.
type race struct {
	b        *bundle
	st       []*store.Store // of several pools
	plain    plainSender
	runs     []string
	wanted   int          // signals for each run
	sent     atomic.Int64 // all, of both names
	said     sync.Map     // wanted ones that were acknowledged, by run/key
	together atomic.Int64 // wanted ones that were written with others
	at       map[string]*progress
	missed   atomic.Int64 // decisions that nothing has come, though something was acknowledged before
	inVain   atomic.Int64 // claims of a run that waits for a signal, and for which there was none
	ended    atomic.Int64 // runs
	parks    atomic.Int64 // written
	woken    atomic.Int64 // parks and time-outs that were refused because something had come
	parked   sync.Map     // by run: the epoch under which it was parked
}

// Thousands of signals, sent alone, with others, in transactions that commit or roll back, by SQL, and with keys by several senders at once,
// beside parks, time-outs, claims and lost runs: each is taken once, in order, no time-out comes after a signal that was
// there, nobody is woken in vain, and no run stays.
func TestSignalRace(t *testing.T) {
	t.Parallel()
	runs, wanted := 6, 12
	if pgtest.Full() {
		runs, wanted = 10, 25
	}
	if pgtest.Soak() {
		runs, wanted = 50, 60
	}
	b := setup(t, pgtest.PQ)
	r := &race{b: b, plain: newPlainSender(t), wanted: wanted, at: make(map[string]*progress)}
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		db := b.Open(t, access)
		db.SetMaxOpenConns(6)
		r.st = append(r.st, store.New(db, store.Options{
			Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, LockTimeout: kit.Patience,
		}))
	}
	worker(t, r.st[0], "w0")
	worker(t, r.st[1], "w1")
	for range runs {
		id := b.newRun(t)
		r.runs, r.at[id] = append(r.runs, id), new(progress)
	}
	ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
	defer cancel()
	const senders, owners = 6, 4
	for i, err := range kit.Together(senders+owners, func(i int) (err error) {
		if i < senders {
			err = r.sendAll(ctx, i, senders)
		} else {
			err = r.own(ctx, i)
		}
		if err != nil {
			cancel()
		}
		return err
	}) {
		if err != nil {
			t.Errorf("number %d: %v", i, err)
		}
	}
	t.Logf("%d signals sent, %d with others, %d parks, %d decisions refused, %d claims in vain, %d of %d runs ended", r.sent.Load(), r.together.Load(), r.parks.Load(),
		r.woken.Load(), r.inVain.Load(), r.ended.Load(), runs)
	r.check(t)
}

// sendAll sends to each run its part of the wanted signals, and as many others, in some order. The first two senders have the
// same part.
func (r *race) sendAll(ctx context.Context, sender, senders int) error {
	st, part := r.st[sender%len(r.st)], max(sender, 1)-1
	for n := part; n < r.wanted; n += senders - 1 {
		for _, at := range rand.Perm(len(r.runs)) {
			r.untilItWaits(ctx, r.at[r.runs[at]])
			for _, signal := range []store.NewSignal{
				{RunID: r.runs[at], Name: "wanted", Key: fmt.Sprint(n), Payload: json.RawMessage(fmt.Sprint(n))},
				{RunID: r.runs[at], Name: "other", Payload: json.RawMessage("0")},
			} {
				if err := r.send(ctx, st, signal); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// untilItWaits lets the owners catch up, most of the time, and then decide that nothing has come: at about that moment it returns.
func (r *race) untilItWaits(ctx context.Context, run *progress) {
	if rand.N(4) == 0 {
		return
	}
	for n := 0; run.taken.Load() < run.acked.Load() && n < 50 && ctx.Err() == nil; n++ {
		kit.Pause(ctx, time.Millisecond)
	}
	kit.Pause(ctx, rand.N(6*time.Millisecond))
}

// sendPlain sends by SQL, at READ COMMITTED whatever the database's default: above it the server may refuse.
func (r *race) sendPlain(ctx context.Context, signal store.NewSignal) (bool, error) {
	tx, err := r.b.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	n, err := r.plain.send(ctx, tx, signal)
	if err == nil {
		err = tx.Commit()
	}
	return n == 1, err
}

// send sends a signal in one of several ways, until it is sent or was sent before.
func (r *race) send(ctx context.Context, st *store.Store, signal store.NewSignal) (err error) {
	sent := false
	switch way := rand.N(9); way {
	case 0:
		sent, err = r.sendPlain(ctx, signal)
	case 1, 2:
		if way == 2 { // rolled back first
			_, err = r.sendIn(ctx, st, signal, (*sql.Tx).Rollback)
		}
		if err == nil || errors.Is(err, store.ErrRunFinished) {
			sent, err = r.sendIn(ctx, st, signal, (*sql.Tx).Commit)
		}
	case 3, 4, 5:
		sent, err = r.sendTogether(ctx, st, signal)
	default:
		sent, err = st.SendSignal(ctx, signal)
	}
	if errors.Is(err, store.ErrRunFinished) && signal.Name == "other" {
		return nil
	}
	if sent {
		r.sent.Add(1)
		if signal.Name == "wanted" {
			r.at[signal.RunID].acked.Add(1)
			if _, twice := r.said.LoadOrStore(signal.RunID+"/"+signal.Key, true); twice {
				return fmt.Errorf("%+v was sent twice", signal)
			}
		}
	}
	return err
}

// sendTogether sends a signal with two that nobody wants, before and after it, and by itself if it was not written.
func (r *race) sendTogether(ctx context.Context, st *store.Store, signal store.NewSignal) (bool, error) {
	other := store.NewSignal{RunID: signal.RunID, Name: "other", Payload: json.RawMessage("0")}
	elsewhere := other
	elsewhere.RunID = r.runs[rand.N(len(r.runs))]
	outcomes, err := st.Write(ctx, []store.Write{other, signal, elsewhere})
	if err != nil {
		return false, err
	}
	for _, place := range []int{0, 2} {
		if outcomes[place] == store.Written {
			r.sent.Add(1)
		}
	}
	if outcomes[1] == store.Written {
		r.together.Add(1)
		return true, nil
	}
	return st.SendSignal(ctx, signal)
}

func (r *race) sendIn(ctx context.Context, st *store.Store, signal store.NewSignal, end func(*sql.Tx) error) (bool, error) {
	tx, err := r.b.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}) // whatever the database's default
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	sent, err := st.In(tx).SendSignal(ctx, signal)
	if err != nil {
		return false, err
	}
	kit.Pause(ctx, rand.N(2*time.Millisecond))
	return sent, end(tx)
}

// own claims runs and goes on with each, until all have ended.
func (r *race) own(ctx context.Context, n int) error {
	st, worker := r.st[n%len(r.st)], fmt.Sprint("w", n%len(r.st))
	for int(r.ended.Load()) < len(r.runs) {
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d runs have ended in time", r.ended.Load(), len(r.runs))
		}
		claimed, err := st.Claim(ctx, store.ClaimRequest{Worker: worker, Marks: map[string]int64{"w": 0}, Limit: 2})
		if err != nil {
			return err
		}
		for _, run := range claimed.Runs {
			if err := r.execute(ctx, st, run); err != nil {
				return fmt.Errorf("run %s: %w", run.RunID, err)
			}
		}
		if len(claimed.Runs) == 0 {
			kit.Pause(ctx, time.Millisecond)
		}
	}
	return nil
}

// execute goes on with a claimed run until it is parked, released or ended.
func (r *race) execute(ctx context.Context, st *store.Store, run store.ClaimedRun) error {
	steps, err := st.LoadSteps(ctx, []string{run.RunID})
	if err != nil {
		return err
	}
	var last int64
	taken, waits := 0, len(steps[run.RunID])
	for _, step := range steps[run.RunID] {
		last = max(last, step.SignalSeq)
		if step.SignalSeq > 0 {
			taken++
		}
	}
	parkedUnder, mustCome := r.parked.Load(run.RunID)
	mustCome = mustCome && parkedUnder == run.Epoch-2 // the park raised it, and the claim
	for {
		inbox, err := st.ReadInbox(ctx, store.InboxRequest{RunID: run.RunID, After: map[string]int64{"wanted": last}})
		if err != nil {
			return err
		}
		if mustCome && len(inbox.Signals) == 0 {
			r.inVain.Add(1)
		}
		mustCome = false
		name := fmt.Sprintf("wait%05d", waits)
		row, ends := r.decide(run.Owned, name, inbox, taken)
		if row == nil {
			if err := st.ReleaseRun(ctx, run.Owned, 0); !errors.Is(err, store.ErrLockTimeout) {
				return err
			}
			continue // a sender has it
		}
		if len(inbox.Signals) == 0 { // something may come now
			kit.Pause(ctx, rand.N(4*time.Millisecond))
		}
		acked := r.at[run.RunID].acked.Load()
		outcome, err := r.persist(ctx, st, row)
		if outcome == store.Written && len(inbox.Signals) == 0 && acked > int64(taken) {
			r.missed.Add(1)
		}
		if err != nil || ends && outcome == store.Written {
			return err
		}
		switch take, ok := row.(*store.Take); {
		case outcome == store.Woken:
			r.woken.Add(1)
		case outcome != store.Written || !ok:
			return fmt.Errorf("%T: %v", row, outcome)
		default:
			waits++
			if take.SignalSeq > 0 {
				taken, last = taken+1, take.SignalSeq
				r.at[run.RunID].taken.Add(1)
			}
		}
	}
}

// decide returns what an owner writes next, nil to lose the run, and whether it is the last.
func (r *race) decide(run store.Owned, name string, inbox store.Inbox, taken int) (row store.Write, ends bool) {
	switch {
	case taken == r.wanted:
		return &store.End{Owned: run, Status: store.RunCompleted, Output: json.RawMessage("null")}, true
	case rand.N(20) == 0:
		return nil, true
	case len(inbox.Signals) > 0:
		return &store.Take{
			Owned: run, Name: name, Kind: store.SignalStep, Result: inbox.Signals[0].Payload, SignalSeq: inbox.Signals[0].Seq,
		}, false
	case rand.N(4) == 0:
		return &store.Take{
			Owned: run, Name: name, Kind: store.SignalStep, WakeSeq: &inbox.WakeSeq, Err: &store.Error{Code: "timeout"},
		}, false
	default:
		return &store.Park{Owned: run, For: store.ForSignal, WaitsFor: []string{"signal:wanted"}, WakeSeq: inbox.WakeSeq}, true
	}
}

// persist writes a row as soon as nobody has locked the run.
func (r *race) persist(ctx context.Context, st *store.Store, row store.Write) (store.Outcome, error) {
	park, parks := row.(*store.Park)
	if parks {
		r.parked.Store(park.RunID, park.Epoch) // before somebody else can claim it
	}
	outcomes := []store.Outcome{store.Locked}
	for outcomes[0] == store.Locked {
		var err error
		if outcomes, err = st.Write(ctx, []store.Write{row}); err != nil {
			return 0, err
		}
		if outcomes[0] == store.Locked {
			kit.Pause(ctx, time.Millisecond)
		}
	}
	_, ends := row.(*store.End)
	switch written := outcomes[0] == store.Written; {
	case written && ends:
		r.ended.Add(1)
	case written && parks:
		r.parks.Add(1)
	case parks:
		r.parked.Delete(park.RunID)
	}
	return outcomes[0], nil
}

// check looks at the record of all runs.
func (r *race) check(t *testing.T) {
	t.Helper()
	for what, query := range map[string]string{
		"runs that have not ended": `SELECT count(*) FROM workflows.workflow_runs WHERE status <> 'completed'`,
		"runs that have not counted each signal": `
			SELECT count(*) FROM (
			    SELECT run.id FROM workflows.workflow_runs AS run
			    LEFT JOIN workflows.workflow_signals AS signal ON signal.run_id = run.id
			    GROUP BY run.id, run.wake_seq
			    HAVING max(seq) <> run.wake_seq OR count(DISTINCT seq) <> count(*)) AS wrong`,
		"signals that were taken twice, or that nobody wanted": `
			SELECT count(*) FROM (
			    SELECT step.run_id, step.signal_seq
			    FROM workflows.workflow_steps AS step
			    LEFT JOIN workflows.workflow_signals AS signal ON signal.run_id = step.run_id AND signal.seq = step.signal_seq AND signal.name = 'wanted'
			    WHERE step.signal_seq IS NOT NULL
			    GROUP BY step.run_id, step.signal_seq
			    HAVING count(*) > 1 OR count(signal.seq) = 0) AS wrong`,
		"signals that were not taken": `
			SELECT count(*) FROM workflows.workflow_signals AS signal
			WHERE name = 'wanted' AND NOT EXISTS (
			    SELECT FROM workflows.workflow_steps AS step WHERE step.run_id = signal.run_id AND step.signal_seq = signal.seq)`,
		"signals that were taken out of order": `
			SELECT count(*) FROM (
			    SELECT signal_seq < lag(signal_seq) OVER (PARTITION BY run_id ORDER BY step_name) AS wrong
			    FROM workflows.workflow_steps WHERE signal_seq IS NOT NULL) AS taken
			WHERE wrong`,
	} {
		if n := kit.One[int](t, r.b.side, query); n > 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	if n, want := kit.One[int64](t, r.b.side, `SELECT count(*) FROM workflows.workflow_signals`), r.sent.Load(); n != want {
		t.Errorf("%d signals, and %d were acknowledged", n, want)
	}
	if n, want := kit.One[int](t, r.b.side, `SELECT count(*) FROM workflows.workflow_signals WHERE name = 'wanted'`), len(r.runs)*r.wanted; n != want {
		t.Errorf("%d wanted signals, want %d", n, want)
	}
	if r.missed.Load() > 0 {
		t.Errorf("%d parks and time-outs after a signal that was acknowledged", r.missed.Load())
	}
	if r.inVain.Load() > 0 {
		t.Errorf("%d runs were woken for nothing", r.inVain.Load())
	}
	if r.parks.Load() == 0 || r.woken.Load() == 0 || r.together.Load() == 0 {
		t.Errorf("%d parks and %d decisions refused: this was no race", r.parks.Load(), r.woken.Load())
	}
}
