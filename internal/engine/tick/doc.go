// Package tick computes when a schedule is due: pure functions on instants, which know neither clock nor database.
package tick
