package engine

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A worker that finds work whenever it is told of some keeps up; one that never does looks as rarely as without being told. One that
// has not been told for a while looks at once, and a find makes it quick again.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pace
		looks := func(found int64) (n int) {
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); n++ {
				time.Sleep(p.rest(time.Now()))
				p.looked(time.Now(), found)
			}
			return n
		}
		if n := looks(1); n < 490 || n > 510 {
			t.Errorf("%d looks in 5 s that each found something", n)
		}
		if n := looks(0); n < 20 || n > 30 {
			t.Errorf("%d looks in 5 s that found nothing", n)
		}
		if rest := p.rest(time.Now()); rest < minPace {
			t.Errorf("rests %s", rest)
		}
		time.Sleep(maxPace)
		if rest := p.rest(time.Now()); rest > 0 {
			t.Errorf("rests %s although nothing was said for long", rest)
		}
		p.looked(time.Now(), 1)
		if rest := p.rest(time.Now()); rest != minPace {
			t.Errorf("rests %s after a find", rest)
		}
	})
}

func TestSpread(t *testing.T) {
	t.Parallel()
	for fleet, most := range map[int]time.Duration{
		0: 0, 1: 0, 2: 200 * time.Microsecond, 50: 5 * time.Millisecond, 1000: 10 * time.Millisecond,
	} {
		for range 100 {
			if got := spread(fleet); got < 0 || got > most {
				t.Errorf("in a fleet of %d a worker waits %s", fleet, got)
			}
		}
	}
}

// Each time rings once it has come, soon, whatever the order in which they were set; those that come together ring together.
func TestAlarms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var mu sync.Mutex
		var all []time.Duration
		a := newAlarms(func() {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, time.Since(begun))
		})
		times := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return all
		}
		for _, d := range []time.Duration{7 * time.Second, 2 * time.Second, 2*time.Second + time.Millisecond, 9 * time.Second} {
			a.set(d)
		}
		time.Sleep(8 * time.Second)
		rang := times()
		if len(rang) != 2 {
			t.Fatalf("rang at %v", rang)
		}
		for i, want := range []time.Duration{2*time.Second + time.Millisecond, 7 * time.Second} {
			if late := rang[i] - want; late < 0 || late > 2*alarmGrain {
				t.Errorf("alarm %d rang %s late", i, late)
			}
		}
		for i := range maxAlarms + 10 {
			a.set(time.Hour + time.Duration(i)*alarmGrain)
		}
		if n := len(a.at); n != maxAlarms {
			t.Errorf("%d alarms are kept", n)
		}
		a.stop()
		time.Sleep(24 * time.Hour)
		if n := len(times()); n != 2 {
			t.Errorf("%d rang after the end", n-2)
		}
	})
}
