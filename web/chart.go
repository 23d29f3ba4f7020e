package web

import (
	"slices"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A chart has a bar for each part of a time, of one kind upon the other. Its lengths are percents, so it is as wide as its place.
type chart struct {
	Bars   []column
	Labels []tick
	Top    string // what its height stands for
	Says   string // for who cannot see it
	Empty  bool
	Kinds  []string
}

// A column is a part of a bar.
type column struct{ Kind, X, Width, Y, Height, Says string }

// chartOf is of the runs that have ended, by when.
func chartOf(recent workflow.Recent, of window, kinds []string) chart {
	n := int(of.within / of.every)
	end := recent.Now.UnixMilli() / of.every.Milliseconds()
	first := end - int64(n) + 1
	counts, tops, totals := make(map[string][]int), make([]int, n), make(map[string]int)
	for _, kind := range kinds {
		counts[kind] = make([]int, n)
	}
	for _, group := range recent.Groups {
		kind := string(group.Status)
		i := group.Ended.UnixMilli()/of.every.Milliseconds() - first
		if group.Ended.IsZero() || i < 0 || i >= int64(n) || !slices.Contains(kinds, kind) {
			continue
		}
		counts[kind][i] += group.Runs
		tops[i] += group.Runs
		totals[kind] += group.Runs
	}
	top := slices.Max(tops)
	c := chart{Top: count(top), Empty: top == 0, Kinds: kinds}
	var says []string
	for _, kind := range kinds {
		says = append(says, count(totals[kind])+" "+kind)
	}
	c.Says = strings.Join(says, ", ")
	width := 100 / float64(n)
	for i := range n {
		from := time.UnixMilli((first + int64(i)) * of.every.Milliseconds()).UTC()
		below := 0
		for _, kind := range kinds {
			if counts[kind][i] == 0 {
				continue
			}
			height := 100 * float64(counts[kind][i]) / float64(top)
			below += counts[kind][i]
			c.Bars = append(c.Bars, column{
				Kind: kind, X: percents(width * (float64(i) + 0.1)), Width: percents(width * 0.8),
				Y: percents(100 - 100*float64(below)/float64(top)), Height: percents(height),
				Says: from.Format("2006-01-02 15:04") + ", " + span(of.every) + ": " + count(counts[kind][i]) + " " + kind,
			})
		}
		if label := labelOf(from, of); label != "" {
			c.Labels = append(c.Labels, tick{percents(width * float64(i)), label})
		}
	}
	return c
}

// labelOf is what stands below a part of the time, or nothing.
func labelOf(from time.Time, of window) string {
	switch {
	case of.within <= time.Hour && from.Minute()%15 == 0, of.within > time.Hour && of.within <= 24*time.Hour && from.Hour()%6 == 0 && from.Minute() == 0:
		return from.Format("15:04")
	case of.within > 24*time.Hour && from.Hour() == 0:
		return from.Format("Jan 2")
	}
	return ""
}
