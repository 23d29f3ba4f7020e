package fleet_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// handmade has a row for each tick that the test has made to come.
const handmade = `CREATE TABLE handmade (schedule TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (schedule, at))`

// comes makes a tick come now of each rare schedule whose last one has been seen to, and returns how many there are now.
const comes = `
WITH due AS (
    UPDATE workflows.workflow_schedules
    SET next_at = floor(extract(epoch FROM clock_timestamp()) * 1000)
    WHERE name LIKE 'rare%' AND next_at > extract(epoch FROM clock_timestamp()) * 1000 + 1000
    RETURNING name, next_at
), kept AS (
    INSERT INTO handmade SELECT name, next_at FROM due
)
SELECT (SELECT count(*) FROM handmade) + (SELECT count(*) FROM due)`

// Processes are killed, frozen and replaced, by the clock of one of them it is another hour, and for the schedules of each second the clock
// jumps ahead and back. Each tick starts one run, and not two; each tick that starts none is counted.
func TestEachTickStartsOneRun(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(handmade)
	svc := f.service(f.db, nil)
	rare, seconds, ticks := sized(20, 40, 100), sized(3, 5, 10), sized(400, 1_000, 10_000)
	w := chore()
	for n := range rare {
		kit.Must(t, w.SetSchedule(t.Context(), svc, workflow.Schedule{
			Name: fmt.Sprint("rare", n), Cron: "0 0 29 2 *", Zone: "Europe/Berlin",
			Overlap: []workflow.Overlap{workflow.OverlapAllow, workflow.OverlapCancelOther}[n%2],
		}, task{N: n}))
	}
	for n := range seconds {
		kit.Must(t, w.SetSchedule(t.Context(), svc, workflow.Schedule{Name: fmt.Sprint("second", n), Every: time.Second}, task{N: n}))
	}
	begun := f.count(`SELECT sum(next_at / 1000) FROM workflows.workflow_schedules WHERE name LIKE 'second%'`)

	pack := f.release(sized(3, 8, 8), job{Does: "chores"}, 700*time.Millisecond)
	var skew time.Duration
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" { // elsewhere there is no way to
		skew = time.Hour
	}
	skewed := f.spawn(job{Does: "chores", Skew: skew})
	jumps := 0
	for n := 0; n < ticks; n = f.count(comes) {
		kit.Pause(t.Context(), 5*time.Millisecond)
		if n > (jumps+1)*ticks/4 {
			jumps++
			f.exec(`UPDATE workflows.workflow_schedules SET next_at = next_at - 7200000 WHERE name LIKE 'second%'`)
		}
	}
	f.exec(`UPDATE workflows.workflow_schedules SET next_at = next_at + 5000 WHERE name LIKE 'second%'`)
	kit.Until(t, "all ticks have been seen to, and the clock has come where it was", func() bool {
		return f.count(`
			SELECT count(*) FROM workflows.workflow_schedules, (SELECT extract(epoch FROM clock_timestamp()) * 1000) AS now (ms)
			WHERE CASE WHEN name LIKE 'rare%' THEN next_at <= now.ms ELSE next_at > now.ms + 1000 END`) == 0
	})
	f.exec(`UPDATE workflows.workflow_schedules SET paused_at = 1, next_at = next_at + 86400000 WHERE name LIKE 'second%'`)
	deaths := pack.stop()
	f.untilAllEnd()
	skewed.Terminate()

	if deaths == 0 {
		t.Error("nobody was killed: the test shows little")
	}
	f.checkTicks(seconds, begun, jumps)
	t.Logf("%d ticks, %d of each second, %d processes killed", f.count(`SELECT count(*) FROM handmade`),
		f.count(`SELECT sum(started) FROM workflows.workflow_schedules WHERE name LIKE 'second%'`), deaths)
	f.verify()
}

// checkTicks holds the runs and the counts against the ticks.
func (f *fleet) checkTicks(seconds, begun, jumps int) {
	f.t.Helper()
	for what, query := range map[string]string{
		"ticks without their run": `
			SELECT schedule || ' ' || at FROM handmade
			WHERE NOT EXISTS (
			    SELECT FROM workflows.workflow_runs
			    WHERE id LIKE schedule || '/%' AND extract(epoch FROM substr(id, length(schedule) + 2)::timestamptz) * 1000 = at)`,
		"schedules with more runs than ticks": `
			SELECT name FROM workflows.workflow_schedules AS schedule
			WHERE name LIKE 'rare%' AND (
			    started <> (SELECT count(*) FROM handmade WHERE schedule = schedule.name)
			    OR started <> (SELECT count(*) FROM workflows.workflow_runs WHERE id LIKE schedule.name || '/%')
			    OR missed + overlapped + paused + taken > 0)`,
		"schedules with other runs than they count": `
			SELECT name || ' ' || started FROM workflows.workflow_schedules AS schedule
			WHERE started <> (SELECT count(*) FROM workflows.workflow_runs WHERE id LIKE schedule.name || '/%')`,
		"runs that were cancelled and should not be": `
			SELECT run.id FROM workflows.workflow_schedules AS schedule
			JOIN workflows.workflow_runs AS run ON run.id LIKE schedule.name || '/%'
			WHERE run.status = 'cancelled' AND schedule.overlap <> 'cancel_other'`,
	} {
		if found := f.lines(query); len(found) > 0 {
			f.t.Errorf("%d %s: %v", len(found), what, found[:min(len(found), 5)])
		}
	}
	// From the first tick to the next one each is accounted for; back and ahead the clock jumped.
	passed := f.count(`SELECT sum(next_at / 1000 - 86400) FROM workflows.workflow_schedules WHERE name LIKE 'second%'`) - begun +
		seconds*(7200*jumps-5)
	accounted := f.count(`
		SELECT sum(started + missed + overlapped + paused + taken) FROM workflows.workflow_schedules WHERE name LIKE 'second%'`)
	if passed != accounted {
		f.t.Errorf("%d ticks of each second have passed, %d are accounted for", passed, accounted)
	}
}
