package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A run that is woken is loaded with what a look would bring of the signals that it waited for; others are loaded as they always are.
func TestLoadBringsSignals(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		minute := kit.Patience
		names := map[string]string{}
		for name, causes := range map[string][]string{
			"waits": {"signal:a", "signal:it's", "step:open"}, "for a step": {"step:open"}, "for a time": nil,
		} {
			id := b.ownedRun(t)
			names[id] = name
			for _, row := range []store.Write{
				&store.Take{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "before", Kind: store.SignalStep, Seq: 1, Result: []byte("1"), SignalSeq: 1},
				&store.Schedule{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "open", Kind: store.SignalStep, Seq: 2, WakeIn: &minute},
				&store.Schedule{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "call", Kind: store.CallStep, Seq: 3},
			} {
				wrote(t, st, store.Written, row)
			}
			mustSend(t, st, id, "a", "")
			wrote(t, st, store.Written, &store.Park{Owned: store.Owned{RunID: id, Epoch: 1}, For: store.ForSignal, WaitsFor: causes, WakeSeq: 1})
			mustSend(t, st, id, "it's", "k")
			mustSend(t, st, id, "b", "")
			mustSend(t, st, id, "a", "")
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET run_at = 1 WHERE id = $1`, id)
		}
		claim, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10})
		kit.Must(t, err)
		if len(claim.Runs) != len(names) {
			t.Fatalf("claimed %+v, want all", claim.Runs)
		}
		for what, runs := range map[string][]store.ClaimedRun{"all": claim.Runs, "the first": claim.Runs[:1], "the last": claim.Runs[2:]} {
			histories, err := st.Load(t.Context(), runs)
			kit.Must(t, err)
			for _, run := range runs {
				name, got := names[run.RunID], histories[run.RunID]
				steps, err := st.LoadSteps(t.Context(), []string{run.RunID})
				kit.Must(t, err)
				byName := cmpopts.SortSlices(func(a, b store.Step) bool { return a.Name < b.Name })
				inTime := cmpopts.IgnoreFields(store.Step{}, "WakeIn")
				if diff := cmp.Diff(steps[run.RunID], got.Steps, byName, inTime); diff != "" {
					t.Errorf("%s, %s: steps (-want +got):\n%s", what, name, diff)
				}
				if name != "waits" {
					if got.Inbox != nil || got.Waits != nil {
						t.Errorf("%s, %s: %+v, %q; want nothing", what, name, got.Inbox, got.Waits)
					}
					continue
				}
				look, err := st.ReadInbox(t.Context(), store.InboxRequest{
					RunID: run.RunID, After: map[string]int64{"a": 0, "it's": 0}, Steps: []string{"open"},
				})
				kit.Must(t, err)
				if diff := cmp.Diff(&look, got.Inbox, inTime, cmpopts.IgnoreFields(store.Inbox{}, "Now")); diff != "" || len(look.Signals) != 3 {
					t.Errorf("%s: inbox (-want +got):\n%s", what, diff)
				}
				if diff := cmp.Diff([]string{"signal:a", "signal:it's", "step:open"}, got.Waits); diff != "" {
					t.Errorf("%s: answered (-want +got):\n%s", what, diff)
				}
			}
		}
	})
}
