package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// What a worker says is in flight is told, since when by the database's clock, for as long as it can still be true.
func TestStepsInFlight(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		first, firstRun := b.newRun(t), claim(t, st, "me").Owned
		second, secondRun := b.newRun(t), claim(t, st, "me").Owned
		now := func() time.Time {
			return time.UnixMilli(kit.One[int64](t, b.side, `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`))
		}
		beat := func(steps ...store.HangingStep) {
			t.Helper()
			pulse, err := st.Heartbeat(t.Context(), store.Beat{ID: "me", Lease: lease, Hanging: steps})
			if err != nil || !pulse.Alive {
				t.Fatalf("heartbeat: %+v, %v", pulse, err)
			}
		}
		want := func(when, runID string, want ...string) {
			t.Helper()
			steps, err := st.StepsInFlight(t.Context(), runID)
			kit.Must(t, err)
			got := []string{}
			for _, s := range steps {
				got = append(got, strings.Join([]string{s.RunID, s.Step, s.Worker, s.Host}, " "))
				if s.PID != 42 {
					t.Errorf("%s: process %d, want 42", when, s.PID)
				}
			}
			if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		const charge, odd = "a/charge", `"{x\,`
		chargeOfFirst, oddOfFirst := first+" "+charge+" me here", first+" "+odd+" me here"
		chargeOfSecond := second + " " + charge + " me here"

		want("before a heartbeat", "")
		before := now()
		beat(store.HangingStep{RunID: first, Step: odd, Took: time.Minute},
			store.HangingStep{RunID: second, Step: charge, Took: 2 * time.Minute},
			store.HangingStep{RunID: first, Step: charge, Took: time.Hour})
		steps, err := st.StepsInFlight(t.Context(), first)
		kit.Must(t, err)
		after := now()
		since := steps[0].Since.Add(time.Hour)
		if since.Before(before) || since.After(after) || steps[0].For < time.Hour || steps[0].For > time.Hour+after.Sub(before) {
			t.Errorf("in flight since %s for %s, said between %s and %s to be so for an hour", steps[0].Since, steps[0].For, before, after)
		}
		want("all, the longest first", "", chargeOfFirst, chargeOfSecond, oddOfFirst)
		want("those of a run", first, chargeOfFirst, oddOfFirst)
		want("those of an unknown run", "nobody")

		_, err = st.MarkStep(t.Context(), firstRun, charge, "", 1)
		kit.Must(t, err)
		want("with a mark of the attempt", first, chargeOfFirst, oddOfFirst)
		again := 10 * time.Second
		_, err = st.Write(t.Context(), []store.Write{
			&store.Checkpoint{Owned: firstRun, Name: odd, Seq: 2},
			&store.Failure{Owned: secondRun, Name: charge, Seq: 1, Err: &store.Error{}, Count: 1, RetryIn: &again},
		})
		kit.Must(t, err)
		want("once their ends are recorded", "", chargeOfFirst)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET updated_at = updated_at - 1000 * 60`)
		beat(store.HangingStep{RunID: second, Step: charge, Took: time.Second})
		want("in the next attempt", "", chargeOfSecond)

		kit.Must(t, st.ReleaseRun(t.Context(), secondRun, 0))
		want("when its run is somebody else's", "")
		beat(store.HangingStep{RunID: first, Step: charge, Took: time.Hour})
		want("said again", "", chargeOfFirst)
		b.dies(t, "me")
		want("when its worker is dead", "")
	})
}
