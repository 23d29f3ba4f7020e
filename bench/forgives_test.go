package main

import "testing"

// A peer that does not finish costs its own figure, the library and what it is measured against the whole bench, and in a smoke
// test so does a peer.
func TestForgives(t *testing.T) {
	for contestant, want := range map[string]bool{
		goWork: true, dbosGo: true, riverPQ: true, dbosAcross: true,
		oursPGX: false, oursHereQueue: false, grownContestant: false, groupedPGX: false, singlePQ: false, unguarded: false,
	} {
		if got := whole.forgives(contestant); got != want {
			t.Errorf("whole bench, %s: %t, want %t", contestant, got, want)
		}
		if smoke.forgives(contestant) {
			t.Errorf("smoke test: %s is forgiven", contestant)
		}
	}
}
