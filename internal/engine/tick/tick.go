package tick

import "time"

// Times are the ticks of a schedule.
type Times interface {
	// Next returns the first tick after an instant; zero: there is none.
	Next(after time.Time) time.Time
}

// Every returns ticks in equal distances, which are whole milliseconds: the whole multiples of d since 1970 in UTC. So whoever asks,
// and whenever it was set, they are the same.
func Every(d time.Duration) Times { return every(d.Milliseconds()) }

type every int64

func (e every) Next(after time.Time) time.Time {
	ms, step := after.UnixMilli(), int64(e)
	n := ms / step
	if ms < 0 && ms%step != 0 {
		n-- // division rounds towards zero
	}
	return time.UnixMilli((n + 1) * step).UTC()
}

// countedFor is for how long before now ticks that have passed are counted.
const countedFor = 366 * 24 * time.Hour

// Due tells what is to be done about a schedule whose next tick was to be at an instant that has come: the newest of the ticks up to now,
// how many came before it, and when the one after it is due, zero for never. Of ticks that are older than a year only the first is counted.
func Due(times Times, next, now time.Time) (newest time.Time, before int64, following time.Time) {
	newest = next
	for {
		following = times.Next(newest)
		if following.IsZero() || following.After(now) {
			return newest, before, following
		}
		if e, ok := times.(every); ok { // there may be millions
			last := e.Next(now.Add(-time.Duration(e) * time.Millisecond))
			return last, 1 + last.Sub(following).Milliseconds()/int64(e), e.Next(last)
		}
		if recent := times.Next(now.Add(-countedFor)); recent.After(following) && !recent.After(now) {
			following = recent
		}
		newest, before = following, before+1
	}
}

// RunID is the id of a tick's run: the schedule's name and the tick in UTC, with its milliseconds if there are any.
func RunID(schedule string, at time.Time) string {
	return schedule + "/" + at.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)
}
