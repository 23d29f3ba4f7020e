package tick_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/engine/tick"
)

func cron(t testing.TB, expression, zone string) tick.Times {
	t.Helper()
	times, err := tick.Cron(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	return times
}

// ticks returns those after one instant and before another, as clocks on the wall show them.
func ticks(times tick.Times, zone *time.Location, after, before time.Time) (shown []string) {
	for at := times.Next(after); !at.IsZero() && at.Before(before); at = times.Next(at) {
		shown = append(shown, at.In(zone).Format("2 15:04 MST"))
	}
	return shown
}

// Clocks are put forward and back in three zones, one of which does so by half an hour. What each expression does then.
func TestClocksAreChanged(t *testing.T) {
	t.Parallel()
	const berlin, newYork, lordHowe = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
	for _, test := range []struct{ name, zone, expression, after, before, want string }{
		{"spring: a time that is skipped comes later", berlin, "30 2 * * *", "2026-03-27 12:00", "2026-03-31 00:00", "28 02:30 CET, 29 03:30 CEST, 30 02:30 CEST"},
		{"spring: times around it stay", berlin, "59 1,3 * * *", "2026-03-28 12:00", "2026-03-29 12:00", "29 01:59 CET, 29 03:59 CEST"},
		{"spring: the skipped and the usual time at once", berlin, "30 2,3 * * *", "2026-03-28 12:00", "2026-03-30 00:00", "29 03:30 CEST"},
		{"spring: at the moment of the change", berlin, "0 2 * * *", "2026-03-28 12:00", "2026-03-30 00:00", "29 03:00 CEST"},
		{"spring: the last moment of the change", berlin, "59 2 * * *", "2026-03-28 12:00", "2026-03-30 00:00", "29 03:59 CEST"},
		{"spring: a skipped time that came before others", berlin, "15,45 2,3 * * *", "2026-03-28 12:00", "2026-03-30 00:00", "29 03:15 CEST, 29 03:45 CEST"},
		{"spring: by the clock", berlin, "*/30 * * * *", "2026-03-29 00:45", "2026-03-29 04:00", "29 01:00 CET, 29 01:30 CET, 29 03:00 CEST, 29 03:30 CEST"},
		{"spring: each hour", berlin, "@hourly", "2026-03-29 00:45", "2026-03-29 05:00", "29 01:00 CET, 29 03:00 CEST, 29 04:00 CEST"},
		{"autumn: of a time that comes twice the first", berlin, "30 2 * * *", "2026-10-23 12:00", "2026-10-27 00:00", "24 02:30 CEST, 25 02:30 CEST, 26 02:30 CET"},
		{"autumn: times around it stay", berlin, "30 1,3 * * *", "2026-10-24 12:00", "2026-10-25 12:00", "25 01:30 CEST, 25 03:30 CET"},
		{"autumn: at the moment of the change", berlin, "0 3 * * *", "2026-10-24 12:00", "2026-10-25 12:00", "25 03:00 CET"},
		{"autumn: the first of those that come twice", berlin, "0 2 * * *", "2026-10-24 12:00", "2026-10-25 12:00", "25 02:00 CEST"},
		{"autumn: by the clock", berlin, "*/30 * * * *", "2026-10-25 01:45", "2026-10-25 03:15", "25 02:00 CEST, 25 02:30 CEST, 25 02:00 CET, 25 02:30 CET, 25 03:00 CET"},
		{"spring", newYork, "30 2 * * *", "2026-03-06 12:00", "2026-03-10 00:00", "7 02:30 EST, 8 03:30 EDT, 9 02:30 EDT"},
		{"spring: by the clock", newYork, "0 */2 * * *", "2026-03-07 23:00", "2026-03-08 07:00", "8 00:00 EST, 8 04:00 EDT, 8 06:00 EDT"},
		{"autumn", newYork, "30 1 * * *", "2026-10-30 12:00", "2026-11-03 00:00", "31 01:30 EDT, 1 01:30 EDT, 2 01:30 EST"},
		{"autumn: by the clock", newYork, "30 * * * *", "2026-11-01 00:45", "2026-11-01 03:00", "1 01:30 EDT, 1 01:30 EST, 1 02:30 EST"},
		{"autumn: weekdays", newYork, "30 1 * * SUN", "2026-10-30 12:00", "2026-11-08 12:00", "1 01:30 EDT, 8 01:30 EST"},
		{"by half an hour, forward", lordHowe, "15 2 * * *", "2026-10-02 12:00", "2026-10-06 00:00", "3 02:15 +1030, 4 02:45 +11, 5 02:15 +11"},
		{"by half an hour, forward: by the clock", lordHowe, "*/15 * * * *", "2026-10-04 01:40", "2026-10-04 03:00", "4 01:45 +1030, 4 02:30 +11, 4 02:45 +11"},
		{"by half an hour, back", lordHowe, "45 1 * * *", "2026-04-03 12:00", "2026-04-07 00:00", "4 01:45 +11, 5 01:45 +11, 6 01:45 +1030"},
		{"by half an hour, back: by the clock", lordHowe, "*/15 * * * *", "2026-04-05 01:20", "2026-04-05 02:05", "5 01:30 +11, 5 01:45 +11, 5 01:30 +1030, 5 01:45 +1030, 5 02:00 +1030"},
		{"a day that is left out", "Pacific/Apia", "0 9 * * *", "2011-12-28 12:00", "2012-01-01 12:00", "29 09:00 -10, 31 09:00 +14, 1 09:00 +14"},
		{"no change", "Asia/Kolkata", "30 2 * * *", "2026-03-28 12:00", "2026-03-30 12:00", "29 02:30 IST, 30 02:30 IST"},
		{"UTC", "", "30 2 * * *", "2026-03-28 12:00", "2026-03-30 12:00", "29 02:30 UTC, 30 02:30 UTC"},
	} {
		t.Run(test.zone+"/"+test.name, func(t *testing.T) {
			t.Parallel()
			zone, err := tick.Zone(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			at := func(text string) time.Time {
				at, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
				if err != nil {
					t.Fatal(err)
				}
				return at
			}
			got := ticks(cron(t, test.expression, test.zone), zone, at(test.after), at(test.before))
			if diff := cmp.Diff(test.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.expression, diff)
			}
		})
	}
}

// What an expression means apart from changes of the clock.
func TestExpressions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ expression, after, want string }{
		{"0 0 13 * FRI", "2026-02-12 12:00", "2026-02-13 00:00"}, // a 13th or a Friday
		{"0 0 13 * FRI", "2026-02-13 00:00", "2026-02-20 00:00"},
		{"0 0 13 * *", "2026-02-13 00:00", "2026-03-13 00:00"},
		{"0 0 * * 7", "2026-02-13 00:00", "2026-02-15 00:00"},
		{"0 0 29 2 *", "2026-02-13 00:00", "2028-02-29 00:00"},
		{"0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"},
		{"5/15 8-17 * jan-mar mon-fri", "2026-02-13 17:50", "2026-02-16 08:05"},
		{"  0\t12 * * *", "2026-02-13 12:00", "2026-02-14 12:00"},
		{"@daily", "2026-02-13 12:00", "2026-02-14 00:00"},
		{"@weekly", "2026-02-13 12:00", "2026-02-15 00:00"},
		{"@monthly", "2026-02-13 12:00", "2026-03-01 00:00"},
		{"@yearly", "2026-02-13 12:00", "2027-01-01 00:00"},
	} {
		after, err := time.Parse("2006-01-02 15:04", test.after)
		if err != nil {
			t.Fatal(err)
		}
		if got := cron(t, test.expression, "UTC").Next(after).Format("2006-01-02 15:04"); got != test.want {
			t.Errorf("%q after %s: %s, want %s", test.expression, test.after, got, test.want)
		}
	}
}

func TestExpressionsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ expression, zone, want string }{
		{"", "", "empty"}, {"  ", "", "empty"}, {"* * * *", "", "expected exactly 5 fields"}, {"0 0 0 * * *", "", "expected exactly 5 fields"},
		{"60 * * * *", "", "above maximum"}, {"a * * * *", "", "a"}, {"0 0 30 2 *", "", "no such date"}, {"@every 5m", "", "use Every"},
		{"TZ=Europe/Berlin 0 2 * * *", "", "use Zone"}, {"CRON_TZ=UTC 0 2 * * *", "", "use Zone"}, {"@reboot", "", "@reboot"},
		{"0 2 * * *", "Europe/Atlantis", "import _ \"time/tzdata\""}, {"0 2 * * *", "Local", "Local"}, {"0 2 * * *", "../etc/passwd", "zone"},
	} {
		if _, err := tick.Cron(test.expression, test.zone); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q in %q: %v, want %q", test.expression, test.zone, err, test.want)
		}
	}
}

// Over a year of changes each tick is what the rule says, worked out here in another way, minute by minute; and it does not matter from
// where one asks.
func TestEveryTickOfAYear(t *testing.T) {
	t.Parallel()
	begin, end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca"} {
		for _, test := range []meaning{
			{"*/20 * * * *", func(_, minute int) bool { return minute%20 == 0 }, true},
			{"30 */3 * * *", func(hour, minute int) bool { return minute == 30 && hour%3 == 0 }, true},
			{"10,40 0-4,23 * * *", func(hour, minute int) bool { return (minute == 10 || minute == 40) && (hour < 5 || hour == 23) }, false},
			{"0 2 * * *", func(hour, minute int) bool { return minute == 0 && hour == 2 }, false},
		} {
			t.Run(zone+" "+test.expression, func(t *testing.T) {
				t.Parallel()
				location, err := time.LoadLocation(zone)
				if err != nil {
					t.Fatal(err)
				}
				want := test.minuteByMinute(location, begin, end)
				times, got := cron(t, test.expression, zone), []time.Time(nil)
				for at := times.Next(begin.Add(-1)); at.Before(end); at = times.Next(at) {
					got = append(got, at.UTC())
				}
				if !slices.EqualFunc(want, got, time.Time.Equal) { // cmp takes seconds for as many
					t.Fatalf("(-want +got):\n%.2000s", cmp.Diff(want, got))
				}
				for range 500 {
					asked := begin.Add(rand.N(end.Sub(begin) - 48*time.Hour))
					n, _ := slices.BinarySearchFunc(want, asked.Add(1), time.Time.Compare)
					if next := times.Next(asked); !next.Equal(want[n]) {
						t.Fatalf("after %s: %s, want %s", asked, next, want[n])
					}
				}
			})
		}
	}
}

// A meaning is what an expression means.
type meaning struct {
	expression string
	means      func(hour, minute int) bool
	clock      bool // whatever clocks show
}

// minuteByMinute works the ticks out from what a clock shows in each minute.
func (m meaning) minuteByMinute(zone *time.Location, begin, end time.Time) (all []time.Time) {
	const slack = 3 * 24 * 60
	seen := make([]bool, int(end.Sub(begin).Minutes())+2*slack) // minutes that a clock has shown
	for at := begin.Add(-24 * time.Hour); at.Before(end.Add(24 * time.Hour)); at = at.Add(time.Minute) {
		shown := at.In(zone)
		_, now := shown.Zone()
		_, before := at.Add(-time.Minute).In(zone).Zone()
		if !m.clock {
			for skipped := range (now - before) / 60 { // minutes that no clock shows
				missing := at.UTC().Add(time.Duration(before)*time.Second + time.Duration(skipped)*time.Minute)
				if m.means(missing.Hour(), missing.Minute()) {
					all = append(all, at.Add(time.Duration(skipped)*time.Minute))
				}
			}
		}
		minute := int(at.Sub(begin).Minutes()) + now/60 + slack
		if m.means(shown.Hour(), shown.Minute()) && (m.clock || !seen[minute]) {
			all = append(all, at)
		}
		seen[minute] = true
	}
	slices.SortFunc(all, time.Time.Compare)
	all = slices.CompactFunc(all, time.Time.Equal)
	return slices.DeleteFunc(all, func(at time.Time) bool { return at.Before(begin) || !at.Before(end) })
}
