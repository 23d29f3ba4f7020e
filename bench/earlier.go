package main

import (
	"slices"
	"time"
)

// An earlier run of the bench is where some cells of a report are from: the whole takes long.
type earlier struct {
	Began       time.Time
	Repetitions int
	Cells       []string
}

// keep takes from other results the cells that these do not have.
func (r *results) keep(other *results) {
	has := make(map[string]bool)
	for _, s := range r.Samples {
		has[s.Cell] = true
	}
	from := make(map[string]earlier)
	for _, e := range other.Earlier {
		for _, cell := range e.Cells {
			from[cell] = e
		}
	}
	for _, s := range other.Samples {
		if has[s.Cell] {
			continue
		}
		r.Samples = append(r.Samples, s)
		e, known := from[s.Cell]
		if !known {
			e = earlier{Began: other.Began, Repetitions: other.Repetitions}
		}
		r.earlier(e, s.Cell)
	}
	for _, s := range other.Failed {
		if !has[s.Cell] {
			r.Failed = append(r.Failed, s)
		}
	}
}

// earlier notes when a cell was taken.
func (r *results) earlier(when earlier, cell string) {
	for i := range r.Earlier {
		e := &r.Earlier[i]
		if !e.Began.Equal(when.Began) {
			continue
		}
		if slices.Contains(e.Cells, cell) {
			return
		}
		e.Cells = append(e.Cells, cell)
		return
	}
	when.Cells = []string{cell}
	r.Earlier = append(r.Earlier, when)
}
