package store

// What a parked run waits for, as [Park.WaitsFor] and the column waits_for have it.

// WaitsForSignal is a signal of this name.
func WaitsForSignal(name string) string { return signalCause + name }

const signalCause = "signal:"

// WaitsForStep is a scheduled step of the run itself: its children have ended, or it was completed from outside.
func WaitsForStep(name string) string { return "step:" + name }

// wakes is how something that has come for a run makes itself known, whatever it is: the SET list of an UPDATE of
// workflow_runs AS run, FROM clock. reason is what the run may wait for, an expression. The count goes up in any case, which
// refuses a decision that nothing has come. A run that is parked on this may be claimed, at once unless that was so before; any
// other run, such as one that is blocked or that was suspended by hand, keeps its time. updated_at stays, because a take-over
// takes it for the time since when the owner has the run; so no column of an index changes unless the run is woken.
func wakes(reason string) string { return wakesTo("run.wake_seq + 1", "ARRAY["+reason+"]", "clock.ms") }

// wakesTo is wakes for any of several reasons, an array, at a time that the statement has read. seq is what the count becomes.
func wakesTo(seq, reasons, at string) string {
	return `wake_seq = ` + seq + `,
	        run_at = CASE WHEN run.status = 'suspended' AND run.waits_for && ` + reasons + ` THEN least(run.run_at, ` + at + `)
	                      ELSE run.run_at
	                 END`
}
