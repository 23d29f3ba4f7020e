// Package run executes one run: it calls the workflow's function, serves what is recorded, attempts what is not, and writes how it
// ended. It deals in bytes and rows; the types of the application stay at the root, and leases and claims above.
//
//	run.go       a run that this process owns, from its recorded steps to its end
//	outcome.go   what becomes of it: it ends, parks, is blocked, or is handed back
//	persist.go   repeats a write until it is acknowledged, or refused for good
//	mismatch.go  what the function does that it did not do before
//	call.go      one call of the function, which may be called again in place
//	usercode.go  the one place that calls code of the application
//	scope.go     gives each step its key and its place, and notices what does not match the record
//	step.go      one step: recorded, or attempted and checkpointed
//	attempt.go   one attempt, and what becomes of one that failed
//	wait.go      waits in process, or parks the run
//	patch.go     tells older runs from newer ones
//	hang.go      reports code that goes on although its context has ended
package run
