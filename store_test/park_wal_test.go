package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Parks and failed attempts of several runs share a statement, and write little: so many bytes of WAL each, alone and among twenty (PostgreSQL
// 15).
func TestWALOfParksAndFailures(t *testing.T) {
	b, counter := countedOn(t, pgtest.Alone(t), pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, LockTimeout: kit.Patience})
	worker(t, st, "me")
	hour, second := time.Hour, time.Second
	kinds := map[string]struct {
		row         func(run store.Owned) store.Write
		alone, many float64
	}{
		"park": {func(run store.Owned) store.Write {
			return &store.Park{Owned: run, WakeIn: &hour, For: store.ForTime}
		}, parkAlone, parkAmong},
		"failure": {func(run store.Owned) store.Write {
			return &store.Failure{
				Owned: run, Name: "step", Seq: 1, Took: time.Millisecond, Count: 1, RetryIn: &second,
				Policy: store.RetryPolicy{MaxAttempts: 3}, Err: &store.Error{Message: "the bank does not answer"},
			}
		}, failureAlone, failureAmong},
	}
	for name, kind := range kinds {
		for many, want := range map[int]float64{1: kind.alone, 20: kind.many} {
			least := math.MaxFloat64 // some split a page
			for n := range 20 {
				starts, rows := make([]store.Write, many), make([]store.Write, many)
				for i := range rows {
					run := store.Owned{RunID: fmt.Sprintf("01a214c5-5d26-78eb-%04d-%c%05d%06d", many, name[0], n, i), Epoch: 1}
					starts[i], rows[i] = store.NewRun{ID: run.RunID, Workflow: "order", Input: json.RawMessage(`1`), Owner: "me"}, kind.row(run)
				}
				_, err := st.Write(t.Context(), starts)
				kit.Must(t, err)
				counter.Take()
				var outcomes []store.Outcome
				least = min(least, b.written(t, func() { outcomes, err = st.Write(t.Context(), rows) }))
				kit.Must(t, err)
				if sent := counter.Take(); sent.Statements != 1 || sent.Begins != 0 {
					t.Fatalf("%d of %s: %+v, want one statement", many, name, sent)
				}
				for _, outcome := range outcomes {
					if outcome != store.Written {
						t.Fatalf("%s: %v", name, outcome)
					}
				}
			}
			each := least / float64(many)
			t.Logf("%s among %d: %.0f bytes of WAL", name, many, each)
			if each > 1.1*want {
				t.Errorf("%s among %d: %.0f bytes of WAL, more than 1.1 times %.0f", name, many, each, want)
			}
		}
	}
}

const (
	parkAlone, parkAmong       = 520.0, 483.0
	failureAlone, failureAmong = 720.0, 683.0
)
