package tick

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// The library says which times of day and dates an expression means, in UTC, where there is nothing to go wrong; what becomes of them
// when clocks are changed is decided here.
var parser = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom).
	WithMaxSearchYears(searchYears)

// searchYears are enough for each date that comes at all, such as a Monday that is the 29th of February.
const searchYears = 50

// Cron returns the ticks of a cron expression in a time zone, "" for UTC. The expression has five fields, or is @hourly, @daily, @weekly,
// @monthly or @yearly.
//
// If its hour begins with *, it follows the clock on the wall: an hour that is skipped in spring has no ticks, and one that comes twice
// in autumn has them twice. Any other expression means times of day, each of which has one tick a day: a time that is skipped comes as
// much later as clocks were put forward, and of a time that comes twice the first counts.
func Cron(expression, zone string) (Times, error) {
	location, err := Zone(zone)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(expression)
	switch {
	case len(fields) == 0:
		return nil, errors.New("it is empty")
	case strings.Contains(expression, "="):
		return nil, errors.New("a time zone does not belong into it: use Zone")
	case strings.HasPrefix(fields[0], "@every"):
		return nil, errors.New("@every does not belong into it: use Every")
	}
	parsed, err := parser.Parse("TZ=UTC " + strings.Join(fields, " "))
	if err != nil {
		return nil, err
	}
	times := wall{expression: parsed, location: location}
	times.clock = fields[0] == "@hourly" || len(fields) > 1 && strings.HasPrefix(fields[1], "*")
	if times.Next(time.Unix(0, 0)).IsZero() {
		return nil, errors.New("there is no such date")
	}
	return times, nil
}

// Zone returns a time zone by its name in the zone database, "" for UTC. The one of the machine is refused: another machine has another.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New(`"Local" is another zone on each machine: name one, such as "Europe/Berlin"`)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is not in the zone database of this machine (an image without one has to bring it: "+
			"import _ \"time/tzdata\")", name)
	}
	return location, nil
}

// wall is an expression that means times on a wall's clock.
type wall struct {
	expression cron.Schedule // its times of day and dates, as if in UTC
	location   *time.Location
	clock      bool // it follows the clock when that is changed
}

// mostChanges bounds how many changes of the clock there may be before the next tick: more than in the years that the parser looks ahead.
const mostChanges = 4 * searchYears

// Next goes from one change of the clock to the next: between two of them all is simple.
func (w wall) Next(after time.Time) time.Time {
	from := after.Add(1)
	for range mostChanges {
		start, end := from.In(w.location).ZoneBounds()
		tick := w.since(from, start)
		if end.IsZero() || !tick.IsZero() && tick.Before(end) {
			return tick
		}
		from = end
	}
	return time.Time{}
}

// since returns the first tick from an instant on, if the clock is not changed after it; start is when it was changed last, zero if never.
func (w wall) since(from, start time.Time) time.Time {
	offset := w.offset(from)
	first, skipped := from.UTC().Add(offset), time.Time{}
	if !start.IsZero() && !w.clock {
		before := w.offset(start.Add(-1))
		if twice := start.UTC().Add(before); twice.After(first) { // times until then came before the change as well
			first = twice
		}
		if time := w.shown(from.UTC().Add(before)); time.Before(start.UTC().Add(offset)) { // it was skipped by the change
			skipped = onClock(time, before)
		}
	}
	tick := onClock(w.shown(first), offset)
	if !skipped.IsZero() && (tick.IsZero() || skipped.Before(tick)) {
		return skipped
	}
	return tick
}

// shown returns the first time of the expression, not before the given one; zero: there is none.
func (w wall) shown(from time.Time) time.Time { return w.expression.Next(from.Add(-1)) }

func (w wall) offset(at time.Time) time.Duration {
	_, seconds := at.In(w.location).Zone()
	return time.Duration(seconds) * time.Second
}

// onClock is when a clock with an offset from UTC shows a time; zero: never.
func onClock(shown time.Time, offset time.Duration) time.Time {
	if shown.IsZero() {
		return time.Time{}
	}
	return shown.Add(-offset)
}
