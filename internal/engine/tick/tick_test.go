package tick_test

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/tick"
)

func date(day, hour, minute, second int) time.Time {
	return time.Date(2026, 3, day, hour, minute, second, 0, time.UTC)
}

// Intervals are the same whoever asks, and whenever.
func TestEvery(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		every       time.Duration
		after, want time.Time
	}{
		{time.Minute, date(1, 12, 0, 0), date(1, 12, 1, 0)},
		{time.Minute, date(1, 12, 0, 59), date(1, 12, 1, 0)},
		{24 * time.Hour, date(1, 12, 0, 0), date(2, 0, 0, 0)},
		{90 * time.Second, date(1, 0, 1, 30), date(1, 0, 3, 0)},
		{1500 * time.Millisecond, date(1, 0, 0, 1), date(1, 0, 0, 1).Add(500 * time.Millisecond)},
		{time.Hour, time.Unix(-1, 0), time.Unix(0, 0)},
		{time.Hour, time.Unix(-7200, 0), time.Unix(-3600, 0)},
	} {
		if got := tick.Every(test.every).Next(test.after); !got.Equal(test.want) {
			t.Errorf("every %s after %s: %s, want %s", test.every, test.after, got, test.want)
		}
	}
}

// Of the ticks that have passed the newest counts, and the others are told.
func TestDue(t *testing.T) {
	t.Parallel()
	daily, minutes := cron(t, "0 3 * * *", ""), cron(t, "* * * * *", "")
	leap := cron(t, "0 0 29 2 *", "")
	for _, test := range []struct {
		name      string
		times     tick.Times
		next, now time.Time
		newest    time.Time
		before    int64
		following time.Time
	}{
		{"on time", daily, date(2, 3, 0, 0), date(2, 3, 0, 0), date(2, 3, 0, 0), 0, date(3, 3, 0, 0)},
		{"late", daily, date(2, 3, 0, 0), date(3, 2, 59, 59), date(2, 3, 0, 0), 0, date(3, 3, 0, 0)},
		{"one was missed", daily, date(2, 3, 0, 0), date(3, 3, 0, 0), date(3, 3, 0, 0), 1, date(4, 3, 0, 0)},
		{"many were missed", minutes, date(2, 3, 0, 0), date(3, 3, 0, 30), date(3, 3, 0, 0), 1440, date(3, 3, 1, 0)},
		{"an instant that is no tick", daily, date(2, 1, 2, 3), date(2, 2, 0, 0), date(2, 1, 2, 3), 0, date(2, 3, 0, 0)},
		{"an instant that is no tick, and ticks", tick.Every(time.Hour), date(2, 1, 2, 3), date(2, 4, 0, 0), date(2, 4, 0, 0), 3, date(2, 5, 0, 0)},
		{"an interval on time", tick.Every(time.Hour), date(2, 1, 0, 0), date(2, 1, 0, 0), date(2, 1, 0, 0), 0, date(2, 2, 0, 0)},
		{"an interval, one missed", tick.Every(time.Hour), date(2, 1, 0, 0), date(2, 2, 59, 59), date(2, 2, 0, 0), 1, date(2, 3, 0, 0)},
		{"millions", tick.Every(time.Second), date(2, 0, 0, 0).AddDate(-1, 0, 0), date(2, 0, 0, 0), date(2, 0, 0, 0), 365 * 86400, date(2, 0, 0, 1)},
		{"older than a year", minutes, time.Unix(0, 0), date(2, 0, 0, 0), date(2, 0, 0, 0), 366*1440 - 1 + 1, date(2, 0, 1, 0)},
		{"older than a year, and rare", leap, time.Unix(0, 0), date(2, 0, 0, 0), time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), 14, time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)},
	} {
		newest, before, following := tick.Due(test.times, test.next, test.now)
		if !newest.Equal(test.newest) || before != test.before || !following.Equal(test.following) {
			t.Errorf("%s: %s, %d before, then %s; want %s, %d, %s", test.name, newest, before, following, test.newest, test.before, test.following)
		}
	}
}
