package store

import "time"

// At most so many failures of a step are kept.
const maxFailures = 20

// Failure is a failed attempt of a step of an owned run.
type Failure struct {
	Owned
	Name    string
	Kind    StepKind
	Seq     int           // as in Checkpoint
	Took    time.Duration // since the attempt began
	Err     *Error
	Count   int // of failed attempts, this one included
	Policy  RetryPolicy
	RetryIn *time.Duration // until the next attempt; nil: this was the last, the step has failed
}

func (*Failure) kind() int { return failureKind }
func (f *Failure) size() int {
	return len(f.Err.Message) + len(f.Err.Stack)
}

func (f *Failure) fill(row *fields) {
	row.text(f.RunID)
	row.number(f.Epoch)
	row.text(f.Name)
	row.textOrNull(string(f.Kind))
	row.numberOrNull(f.Seq)
	row.number(f.Took.Milliseconds())
	row.text(string(f.status()))
	row.json(encodeError(f.Err))
	row.number(int64(f.Count))
	row.json(encodePolicy(f.Policy))
	row.duration(f.RetryIn)
}

func (f *Failure) status() StepStatus {
	if f.RetryIn == nil {
		return StepFailed
	}
	return StepPending
}

// Step returns the step as the failure writes it over the one before, which may be nil. Times are the caller's, where the
// database writes its own.
func (f *Failure) Step(before *Step) Step {
	step := Step{
		RunID: f.RunID, Name: f.Name, Status: f.status(), Err: f.Err, Kind: f.Kind, Seq: f.Seq,
		Attempts: &Attempts{Count: f.Count, Policy: f.Policy},
	}
	if before != nil && before.Attempts != nil {
		kept := before.Attempts.Failures
		kept = kept[max(0, len(kept)-maxFailures+1):]
		step.Attempts.Failures = append(step.Attempts.Failures, kept...)
	}
	step.Attempts.Failures = append(step.Attempts.Failures, FailedAttempt{At: time.Now(), Err: f.Err})
	if f.RetryIn != nil {
		step.WakeIn = *f.RetryIn
	}
	return step
}
