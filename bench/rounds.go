package main

import (
	"slices"
	"strings"
	"time"
)

// A round is the measurements that the contestants take in turns.
type round struct {
	cell        string
	concurrent  int
	contestants []string
	repetitions int // at most; 0: as many as the others
}

const (
	grownContestant = "beside finished runs"
	growthSlots     = 32
)

func (p plan) rounds() []round {
	all := p.wholeRuns()
	all = append(all,
		round{cell: cellSteps, contestants: []string{oursPGX, singlePGX, oursPQFast, singlePQ, oursPQ, dbosGo}},
		round{cell: cellQueue, contestants: everyQueue()},
		round{cell: cellMemory, contestants: []string{oursPGX}},
		round{cell: cellGrowth, concurrent: growthSlots, contestants: []string{oursPGX, grownContestant}},
	)
	for _, cell := range []string{cellChildren, cellSignals} {
		for _, n := range p.waiting {
			all = append(all, round{cell: cell, concurrent: n, contestants: []string{oursPGX, oursPQFast, dbosGo, goWork}})
		}
	}
	all = append(all, round{cell: cellFanOut, contestants: []string{grownContestant}})
	all = append(all, p.queues()...)
	for i := range all {
		all[i].contestants = slices.DeleteFunc(all[i].contestants, func(c string) bool { return !strings.Contains(c, p.contestant) })
	}
	return slices.DeleteFunc(all, func(r round) bool { return p.only != "" && !slices.Contains(strings.Split(p.only, ","), r.cell) })
}

func (p plan) wholeRuns() []round {
	var all []round
	for _, n := range p.concurrent {
		r := round{cell: cellRuns, concurrent: n}
		for _, c := range contestants {
			if c.open != nil {
				r.contestants = append(r.contestants, c.name)
			}
		}
		all = append(all, r)
	}
	return all
}

func everyQueue() []string {
	var names []string
	for _, c := range contestants {
		if c.openWorker != nil {
			names = append(names, c.name)
		}
	}
	return names
}

// queues are the rounds about queues with limits, latency and several workers. Whoever lacks a thing is not measured with it.
func (p plan) queues() []round {
	const few = 3 // repetitions
	ours := []string{oursPGX, oursPQFast, oursPQ}
	all := []round{
		{cell: cellNamed, contestants: ours, repetitions: few},
		{cell: cellSlots, contestants: ours, repetitions: few},
		{cell: cellLimit, contestants: everyQueue(), repetitions: few},
		{cell: cellPartitions, contestants: append(slices.Clone(ours), dbosGo), repetitions: few},
		{cell: cellBoth, contestants: append(slices.Clone(ours), dbosGo), repetitions: few},
	}
	latency := round{cell: cellLatency, repetitions: few}
	for _, c := range correspondents {
		latency.contestants = append(latency.contestants, c.name)
	}
	all = append(all, latency)
	for _, n := range p.processes {
		all = append(all,
			round{cell: cellScaling, concurrent: n, contestants: []string{oursPGX, riverPGX}, repetitions: few},
			round{cell: cellScalingLimit, concurrent: n, contestants: []string{oursPGX}, repetitions: few},
			round{cell: cellCrowd, concurrent: n, contestants: []string{oursPGX}, repetitions: few},
			round{cell: cellCrowdLimit, concurrent: n, contestants: []string{oursPGX}, repetitions: few},
		)
	}
	return all
}

// workers returns how many other processes execute what is measured.
func (r round) workers(contestant string) int {
	switch r.cell {
	case cellQueue, cellNamed, cellSlots, cellLimit, cellPartitions, cellBoth:
		return 1
	case cellScaling, cellScalingLimit, cellCrowd, cellCrowdLimit:
		return r.concurrent
	case cellLatency:
		if correspondentNamed(contestant).openWorker != nil {
			return 1
		}
	}
	return 0
}

// count returns of how many steps, runs or children a measurement is.
func (p plan) count(r round, contestant string) int {
	switch r.cell {
	case cellSteps:
		return p.steps
	case cellQueue, cellCrowd, cellCrowdLimit:
		return p.backlog
	case cellNamed, cellSlots, cellLimit, cellPartitions, cellBoth:
		if contestant == dbosGo {
			return p.backlog / fewerForDBOS
		}
		return p.backlog
	case cellScaling, cellScalingLimit:
		return p.perWorker * r.concurrent
	case cellChildren:
		return p.children
	case cellFanOut:
		return p.fanOut
	default:
		return p.inFlight
	}
}

// windowOf returns for how long a cell is measured.
func (p plan) windowOf(cell string) time.Duration {
	if cell == cellLatency {
		return p.latency
	}
	return p.window
}
