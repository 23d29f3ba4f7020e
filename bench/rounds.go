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
			all = append(all, round{cell: cell, concurrent: n, contestants: []string{oursPGX, oursPQFast, dbosGo, goWork}, repetitions: 2})
		}
	}
	all = append(all, round{cell: cellFanOut, contestants: []string{grownContestant}, repetitions: 2})
	for _, n := range p.waiting {
		all = append(all, round{cell: cellFailures, concurrent: n, contestants: []string{oursPGX, oursPQFast}, repetitions: 2})
	}
	all = append(all, round{cell: cellSleepers, contestants: []string{oursPGX, oursPQFast}, repetitions: 2})
	all = append(all, p.queues()...)
	all = append(all, p.largeResults()...)
	for i := range all {
		all[i].contestants = slices.DeleteFunc(all[i].contestants, func(c string) bool { return p.contestant != nil && !p.contestant.MatchString(c) })
	}
	return slices.DeleteFunc(all, func(r round) bool { return p.only != "" && !slices.Contains(strings.Split(p.only, ","), r.cell) })
}

// lessOften are contestants whose whole runs are repeated less often: what they have is far from what others have, or like it.
var lessOften = []string{singlePQ, goWork}

func (p plan) wholeRuns() []round {
	var all []round
	for _, n := range p.concurrent {
		often := round{cell: cellRuns, concurrent: n}
		for _, c := range contestants {
			if c.open != nil && !slices.Contains(lessOften, c.name) {
				often.contestants = append(often.contestants, c.name)
			}
		}
		all = append(all, often, round{cell: cellRuns, concurrent: n, contestants: slices.Clone(lessOften), repetitions: 2})
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

// queues are the rounds about queues with limits, latency and several workers. Whoever lacks a thing is not measured with it. They are
// repeated less often than the others, so that they take no longer than those.
func (p plan) queues() []round {
	ours := []string{oursPGX, oursPQFast}
	all := []round{
		{cell: cellNamed, contestants: []string{oursPGX, oursPQFast, oursPQ}, repetitions: 2},
		{cell: cellSlots, contestants: []string{oursPGX}, repetitions: 2},
		{cell: cellLimit, contestants: everyQueue(), repetitions: 2},
		{cell: cellPartitions, contestants: append(slices.Clone(ours), dbosGo), repetitions: 2},
		{cell: cellBoth, contestants: append(slices.Clone(ours), dbosGo), repetitions: 2},
	}
	latency := round{cell: cellLatency, repetitions: 2}
	for _, c := range correspondents {
		latency.contestants = append(latency.contestants, c.name)
	}
	all = append(all, latency)
	for i, n := range p.processes {
		all = append(all,
			round{cell: cellScaling, concurrent: n, contestants: []string{oursPGX, riverPGX}, repetitions: 2},
			round{cell: cellScalingLimit, concurrent: n, contestants: []string{oursPGX}, repetitions: 2},
			round{cell: cellFleet, concurrent: n, contestants: []string{oursPQ, oursPGX}, repetitions: 2},
		)
		if i == 0 || i == len(p.processes)-1 {
			all = append(all,
				round{cell: cellCrowd, concurrent: n, contestants: []string{oursPGX}, repetitions: 2},
				round{cell: cellCrowdLimit, concurrent: n, contestants: []string{oursPGX}, repetitions: 2},
			)
		}
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
	case cellFleet:
		return r.concurrent - 1
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
	case cellFleet: // as many as the window brings
		return 0
	case cellQueue, cellCrowd, cellCrowdLimit:
		return p.backlog
	case cellNamed, cellSlots, cellLimit, cellPartitions, cellBoth:
		if slices.Contains([]string{dbosGo, riverPGX, riverPQ}, contestant) {
			return p.backlog / fewerForPeers
		}
		return p.backlog
	case cellScaling, cellScalingLimit:
		return p.perWorker * r.concurrent
	case cellChildren:
		return p.children
	case cellFanOut:
		return p.fanOut
	case cellSleepers:
		return p.sleepers
	default:
		return p.inFlight
	}
}

// windowOf returns for how long a cell is measured.
func (p plan) windowOf(cell string) time.Duration {
	switch {
	case cell == cellLatency:
		return p.latency
	case payloadSizes[cell] > 0:
		return p.payload
	default:
		return p.window
	}
}
