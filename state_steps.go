package workflow

import (
	"context"
	"fmt"

	"github.com/sqlworkflow/workflow/store"
)

// GetStepState returns a step of a run. A step that was never written is pending; of an unknown run, ErrRunNotFound.
func (s State) GetStepState(ctx context.Context, runID, step string) (Step, error) {
	if err := s.readyRun(ctx, "get step", runID); err != nil {
		return Step{}, err
	}
	if err := checkStepKey(step); err != nil {
		return Step{}, err
	}
	found, err := s.store.GetStepState(ctx, runID, step)
	return stepOf(found), err
}

// ListSteps returns the steps of a run, or ErrRunNotFound: in the order in which the run reached them (Step.Seq), then those that
// were written by the state API, in the order of their last change.
func (s State) ListSteps(ctx context.Context, runID string) ([]Step, error) {
	if err := s.readyRun(ctx, "list steps", runID); err != nil {
		return nil, err
	}
	found, err := s.store.ListSteps(ctx, runID)
	if err != nil {
		return nil, err
	}
	steps := make([]Step, len(found))
	for i := range found {
		steps[i] = stepOf(found[i])
	}
	return steps, nil
}

// LookAtSteps is ListSteps for a page: the last of them, at most so many, and without results, requests and attempts that are long (16 kB), however
// long those are. Step.LeftOut says how long the result is.
func (s State) LookAtSteps(ctx context.Context, runID string, most int) ([]Step, error) {
	if err := s.readyLook(ctx, "look at steps", runID, most); err != nil {
		return nil, err
	}
	found, err := s.store.LookAtSteps(ctx, runID, most)
	if err != nil {
		return nil, err
	}
	steps := make([]Step, len(found))
	for i := range found {
		steps[i] = stepOf(found[i])
	}
	return steps, nil
}

// SetStepScheduled records that a step was handed to someone who will execute it. See [State.SetStepResult] for the
// errors.
func (s State) SetStepScheduled(ctx context.Context, runID, step string) error {
	return s.setStep(ctx, store.NewStep{RunID: runID, Name: step, Status: StepScheduled})
}

// SetStepResult records that a step succeeded, and with what; nil is JSON null. The first result is final: the same one
// again is success, another one ErrStepFinished. ErrRunNotFound; ErrRunFinished when the run is completed, failed or
// cancelled; ErrRunOwned while a worker executes it. A step name has at most 1,024 bytes and neither # nor /.
//
// A scheduled step that a run waits for ([Signal.Wait] with a timeout, [Approval.Ask], [Call]) is completed this way from outside, by
// whoever has done what it stands for: under its key, which may have # and /, also while a worker executes the run, and the run
// goes on. In the service's own process it does so at once; after a transaction of the application, call [Service.Wake]. The
// result is then what a signal, an [Approval]'s decision {by, value} or the called run would have given; that run, if it has begun,
// is not stopped.
func (s State) SetStepResult(ctx context.Context, runID, step string, result any) error {
	payload, err := encode("step result", result, s.config.PayloadLimit)
	if err != nil {
		return err
	}
	return s.completeStep(ctx, store.NewStep{RunID: runID, Name: step, Status: StepSucceeded, Result: payload})
}

// SetStepError records that a step failed, and why; it may still succeed later, unless it is one that a run waits for. See
// [State.SetStepResult] for those, and for the errors.
func (s State) SetStepError(ctx context.Context, runID, step string, err error) error {
	if err == nil {
		return fmt.Errorf("workflow: step error: %w: it must not be nil", ErrInvalidArgument)
	}
	return s.completeStep(ctx, store.NewStep{RunID: runID, Name: step, Status: StepFailed, Err: store.NewError(recorded(err))})
}

// completeStep also takes the keys that the engine makes, # and / included, of steps that are there.
func (s State) completeStep(ctx context.Context, step store.NewStep) error {
	reserved := checkStepName(step.Name)
	if reserved == nil || checkStepKey(step.Name) != nil {
		return s.setStep(ctx, step)
	}
	known, err := s.GetStepState(ctx, step.RunID, step.Name)
	switch {
	case err != nil:
		return err
	case known.UpdatedAt.IsZero(): // it was never written
		return reserved
	default:
		return s.writeStep(ctx, step)
	}
}

func (s State) setStep(ctx context.Context, step store.NewStep) error {
	if err := s.readyRun(ctx, "set step", step.RunID); err != nil {
		return err
	}
	if err := checkStepName(step.Name); err != nil {
		return err
	}
	return s.writeStep(ctx, step)
}

func (s State) writeStep(ctx context.Context, step store.NewStep) error {
	err := s.store.SetStep(ctx, step)
	if err == nil && step.Status != StepScheduled {
		s.wake(step.RunID)
	}
	return err
}
