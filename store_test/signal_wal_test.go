package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A signal writes hardly more WAL than the bare INSERT of its row and the bare UPDATE of its run: what a lock of that run takes,
// and with a key the entry of another index. One that was sent before writes the lock alone.
func TestWALOfASignal(t *testing.T) {
	b := on(t, pgtest.Alone(t), pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, LockTimeout: kit.Patience})
	owned := b.ownedRun(t)
	parked := b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:a"}})
	least := func(do func(n int)) float64 {
		bytes := math.MaxFloat64
		for n := range 30 {
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET run_at = NULL WHERE id = $1`, parked)
			bytes = min(bytes, b.written(t, func() { do(n) }))
		}
		return bytes
	}
	bare := least(func(n int) {
		_, err := b.db.ExecContext(t.Context(), `
			WITH sent AS (
			    INSERT INTO workflows.workflow_signals (run_id, name, seq, payload, sent_at)
			    VALUES ($1, 'bare', $2, '1', 1)
			)
			UPDATE workflows.workflow_runs SET wake_seq = wake_seq + 1 WHERE id = $1`, owned, n)
		kit.Must(t, err)
	})
	plain := least(func(int) { mustSend(t, st, owned, "a", "") })
	keyed := least(func(n int) { mustSend(t, st, owned, "a", fmt.Sprintf("key%04d", n)) })
	wakes := least(func(int) { mustSend(t, st, parked, "a", "") })
	again := least(func(n int) {
		if sent, err := send(t, st, owned, "a", fmt.Sprintf("key%04d", n)); sent || err != nil {
			t.Errorf("again: %t, %v", sent, err)
		}
	})
	var busy []store.Write
	for range 20 {
		busy = append(busy, store.NewSignal{RunID: b.ownedRun(t), Name: "a", Payload: json.RawMessage("1")})
	}
	together := least(func(int) {
		_, err := st.Write(t.Context(), busy)
		kit.Must(t, err)
	}) / float64(len(busy))
	t.Logf("bytes of WAL: bare %.0f, a signal %.0f, with a key %.0f, that wakes %.0f, again %.0f, with others %.0f",
		bare, plain, keyed, wakes, again, together)
	for what, size := range map[string]struct{ got, most float64 }{
		"a signal":        {plain, bare + 100},
		"with a key":      {keyed, bare + 300},
		"one that wakes":  {wakes, bare + 400}, // an entry of each index of runs
		"a key once more": {again, 200},
		"one of many":     {together, bare + 100},
	} {
		if size.got > size.most {
			t.Errorf("%s writes %.0f bytes of WAL, more than %.0f; the bare statement %.0f", what, size.got, size.most, bare)
		}
	}
}
