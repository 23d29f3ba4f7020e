package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// inSomeWay sends signals in one of the ways there are, and returns which were sent.
type inSomeWay func(t *testing.T, st *store.Store, signals []store.NewSignal) (sent []bool)

var waysToSend = map[string]inSomeWay{
	"by itself": func(t *testing.T, st *store.Store, signals []store.NewSignal) (sent []bool) {
		for _, signal := range signals {
			one, _ := st.SendSignal(t.Context(), signal) // why not is not asked here
			sent = append(sent, one)
		}
		return sent
	},
	"written alone": func(t *testing.T, st *store.Store, signals []store.NewSignal) (sent []bool) {
		for _, signal := range signals {
			outcomes, err := st.Write(t.Context(), []store.Write{signal})
			kit.Must(t, err)
			sent = append(sent, outcomes[0] == store.Written)
		}
		return sent
	},
	"written together": func(t *testing.T, st *store.Store, signals []store.NewSignal) (sent []bool) {
		rows := make([]store.Write, len(signals))
		for i, signal := range signals {
			rows[i] = signal
		}
		outcomes, err := st.Write(t.Context(), rows)
		kit.Must(t, err)
		for i, outcome := range outcomes {
			if outcome != store.Written && outcome != store.Locked {
				t.Errorf("%+v: %v", signals[i], outcome)
			}
			sent = append(sent, outcome == store.Written)
		}
		return sent
	},
}

// Signals that are sent together are what they are one by one: each stands for itself, those to one run are numbered in their
// order, a key is sent once, and a run is woken by what it waits for.
func TestSignalsTogether(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for way, send := range waysToSend {
			t.Run(way, func(t *testing.T) {
				b := setup(t, access)
				st := store.New(b.db, store.Options{Schema: "workflows", Timeout: 2 * time.Second}) // one of them waits for it
				runs := map[string]string{
					"waits": b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:b", "step:x"}}),
					"other": b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"signal:b"}}),
					"owned": b.ownedRun(t), "pending": b.newRun(t), "again": b.ownedRun(t),
					"finished": b.runIn(t, store.RunCompleted), "locked": b.ownedRun(t), "nobody": "nobody",
				}
				mustSend(t, st, runs["again"], "a", "before")
				b.holdRow(t, runs["locked"])
				var signals []store.NewSignal
				for i, to := range strings.Fields(`waits/a locked/a waits/b/k owned/a/k nobody/a owned/a/l pending/a waits/b other/a finished/a
					owned/b/k owned/a again/a/before waits/b/k again/b/before again/a/after again/a/after owned/a/l`) {
					part := append(strings.Split(to, "/"), "")
					signals = append(signals, store.NewSignal{
						RunID: runs[part[0]], Name: part[1], Key: part[2], Payload: json.RawMessage(fmt.Sprintf(`{"it's": %d}`, i)),
					})
				}
				sent := send(t, st, signals)
				var not []int
				for i := range sent {
					if !sent[i] {
						not = append(not, i)
					}
				}
				if want := []int{1, 4, 9, 12, 13, 16, 17}; !slices.Equal(not, want) {
					t.Errorf("not sent: %d, want %d", not, want)
				}
				got := map[string]string{}
				for name, id := range runs {
					if id == "nobody" {
						continue
					}
					got[name] = kit.One[string](t, b.side, `
						SELECT concat_ws(' ', run.status, run.run_at <= extract(epoch FROM clock_timestamp()) * 1000, run.updated_at > 0,
						       run.wake_seq = coalesce(max(seq), 0), count(DISTINCT seq),
						       string_agg(name || coalesce(key, '-') || coalesce(payload ->> 'it''s', ''), ' ' ORDER BY seq))
						FROM workflows.workflow_runs AS run
						LEFT JOIN workflows.workflow_signals ON run_id = id
						WHERE id = $1
						GROUP BY id`, id)
				}
				if diff := cmp.Diff(map[string]string{
					"waits": "suspended t t t 3 a-0 bk2 b-7", "other": "suspended t t 1 a-8", "owned": "running t t 4 ak3 al5 bk10 a-11",
					"pending": "pending t t t 1 a-6", "again": "running t t 3 abefore bbefore14 aafter15", "finished": "completed t t 0",
					"locked": "running t t 0",
				}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	})
}

// A signal that comes while a statement with others is being written is counted by that: it is numbered after it.
func TestSignalsTogetherAfterOneThatTheyDidNotSee(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.newRun(t)
		const senders, each = 6, 30
		for i, err := range kit.Together(senders, func(i int) error {
			for n := range each {
				rows := []store.Write{
					store.NewSignal{RunID: id, Name: fmt.Sprint(i), Payload: json.RawMessage("1")},
					store.NewSignal{RunID: id, Name: "key", Key: fmt.Sprint(n), Payload: json.RawMessage("1")},
				}
				outcomes, err := st.Write(t.Context(), rows)
				if err != nil {
					return err
				}
				for place, outcome := range outcomes {
					if outcome == store.Locked {
						if _, err := st.SendSignal(t.Context(), rows[place].(store.NewSignal)); err != nil {
							return err
						}
					}
				}
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("sender %d: %v", i, err)
			}
		}
		got := kit.One[string](t, b.side, `
			SELECT concat_ws(' ', count(*), count(DISTINCT seq), max(seq) = (SELECT wake_seq FROM workflows.workflow_runs))
			FROM workflows.workflow_signals`)
		if want := fmt.Sprintf("%d %[1]d t", senders*each+each); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
