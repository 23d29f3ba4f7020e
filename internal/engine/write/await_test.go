package write

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// deaf hears nobody.
type deaf struct{}

func (deaf) Need() func() { return func() {} }
func (deaf) Hears() bool  { return false }

// A watched context tells when somebody waits for its end too: the caller is where it waits for its run.
type watched struct {
	context.Context
	waits  chan struct{}
	closed sync.Once
}

func watch(t *testing.T) *watched {
	return &watched{Context: kit.Context(t), waits: make(chan struct{})}
}

func (w *watched) Done() <-chan struct{} {
	w.closed.Do(func() { close(w.waits) })
	return w.Context.Done()
}

// awaiting is an awaiter on a run that had failed and was resumed, and is told of that end only now.
type awaiting struct {
	*Awaiter
	holds *Holds
	other *store.Store // on another pool
	wires *kit.Wires   // of the awaiter's pool
	id    string
}

var failed = store.Run{ID: "r", Status: store.RunFailed}

func newAwaiting(t *testing.T) *awaiting {
	t.Helper()
	t.Parallel()
	database := pgtest.New(t)
	connector, err := pq.NewConnector(database.AccessURL(t, pgtest.PQ))
	kit.Must(t, err)
	a := &awaiting{wires: new(kit.Wires), holds: NewHolds(), id: failed.ID}
	connector.Dialer(a.wires)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	options := store.Options{Schema: pgtest.Schema, Timeout: kit.Patience, LockTimeout: kit.Patience}
	a.other = store.New(database.Open(t, pgtest.PGX), options)
	a.Awaiter = NewAwaiter(store.New(db, options), a.holds, deaf{}, func(store.Whereabouts) string { return "" })
	t.Cleanup(func() { a.Close(errors.New("closed")) })
	_, err = a.other.CreateRun(t.Context(), store.NewRun{ID: a.id, Workflow: "w", Input: []byte("1")})
	kit.Must(t, err)
	kit.Must(t, a.other.UpdateRunStatus(t.Context(), a.id, store.RunFailed, nil, nil))
	return a
}

// await begins to wait for the run, and returns once it waits.
func (a *awaiting) await(t *testing.T) <-chan answer {
	t.Helper()
	ctx := watch(t)
	told := kit.Go(t, func() answer {
		run, err := a.Await(ctx, a.id, nil)
		return answer{run, err}
	})
	kit.Receive(t, "it waits", ctx.waits)
	return told
}

func (a *awaiting) resume(t *testing.T) {
	t.Helper()
	kit.Must(t, a.other.ResumeRun(t.Context(), a.id))
}

// completes completes the run, which must be what is told.
func (a *awaiting) completes(t *testing.T, told <-chan answer) {
	t.Helper()
	kit.Must(t, a.other.UpdateRunStatus(t.Context(), a.id, store.RunCompleted, []byte("2"), nil))
	if got := kit.Receive(t, "the end of the run", told); got.err != nil || got.run.Status != store.RunCompleted {
		t.Errorf("told %q, %v, of a run that was resumed before anybody asked, and has completed", got.run.Status, got.err)
	}
}

// Who waits for a run after its Resume is not told the failure from before, whoever learns of that late.
func TestAwaitAfterAResume(t *testing.T) {
	t.Parallel()
	t.Run("executed here, where its end is not known yet", func(t *testing.T) {
		a, hold := newAwaiting(t), NewHold()
		a.holds.Attach(hold, store.Owned{RunID: a.id, Epoch: 1}, nothingHeld{})
		a.resume(t)
		told := a.await(t)
		a.Finished(&failed)
		a.holds.Settle(hold, &failed)
		a.completes(t, told)
	})
	t.Run("over here, where its end is not told yet", func(t *testing.T) {
		a := newAwaiting(t)
		a.resume(t)
		told := a.await(t)
		a.Finished(&failed)
		a.completes(t, told)
	})
	t.Run("looked up before, and not answered yet", func(t *testing.T) {
		a := newAwaiting(t)
		_, _, err := a.store.Ended(t.Context(), []string{"none"}) // prepared, so that a look-up is one answer
		kit.Must(t, err)
		a.wires.Sent()
		thaw := a.wires.Freeze(t)
		before := a.await(t)
		kit.Until(t, "the run is looked up", func() bool { return a.wires.Held() > 0 })
		a.resume(t)
		told := a.await(t)
		thaw()
		if got := kit.Receive(t, "the failure", before); got.err != nil || got.run.Status != store.RunFailed {
			t.Errorf("told %q, %v, of a run that had failed", got.run.Status, got.err)
		}
		a.completes(t, told)
	})
}
