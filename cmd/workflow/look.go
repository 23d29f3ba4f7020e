package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A record is what is shown of a run.
type record struct {
	run      workflow.Run
	parent   *workflow.Run // nil: it has none, or that was deleted
	steps    []workflow.Step
	inFlight []workflow.StepInFlight
	signals  []workflow.SentSignal
	children family
}

// A family is the runs that one run has called or spawned, those first that need looking at.
type family struct {
	members []member
	more    bool // than were read
}

type member struct {
	run      workflow.Run
	children family
}

// look reads the steps after the run, so that none of a finished run is missing.
func look(ctx context.Context, service *workflow.Service, id string) (found record, err error) {
	if found.run, err = service.GetRun(ctx, id); err != nil {
		return record{}, err
	}
	if found.run.Owner != "" {
		if found.inFlight, err = service.StepsInFlight(ctx, id); err != nil {
			return record{}, err
		}
	}
	if found.steps, err = service.ListSteps(ctx, id); err != nil {
		return record{}, err
	}
	if found.run.Status.Finished() {
		waitNoMore(found.steps)
	}
	if found.signals, err = service.ListSignals(ctx, id); err != nil {
		return record{}, err
	}
	if found.run.ParentID != "" {
		parent, err := service.GetRun(ctx, found.run.ParentID)
		switch {
		case err == nil:
			found.parent = &parent
		case !errors.Is(err, workflow.ErrRunNotFound):
			return record{}, err
		}
	}
	found.children, err = descendants(ctx, service, id)
	return found, err
}

// maxFamilies bounds of how many runs the children are asked for.
const maxFamilies = 100

// descendants reads level by level, so that what is near is there when the bound is met.
func descendants(ctx context.Context, service *workflow.Service, id string) (root family, err error) {
	type task struct {
		id   string
		into *family
	}
	tasks := []task{{id, &root}}
	for i := 0; i < len(tasks) && i < maxFamilies; i++ {
		page, err := service.ListRuns(ctx, workflow.RunFilter{ParentID: tasks[i].id, Limit: pageSize})
		if err != nil {
			return family{}, err
		}
		into := tasks[i].into
		into.more = page.Next != ""
		for _, run := range page.Runs {
			into.members = append(into.members, member{run: run})
		}
		slices.SortStableFunc(into.members, func(a, b member) int { return urgency(a.run) - urgency(b.run) })
		for j := range into.members {
			tasks = append(tasks, task{into.members[j].run.ID, &into.members[j].children})
		}
	}
	return root, nil
}

// urgency puts unfinished runs before those that failed, and completed ones last.
func urgency(run workflow.Run) int {
	switch run.Status {
	case workflow.RunCompleted:
		return 2
	case workflow.RunFailed, workflow.RunCancelled:
		return 1
	default:
		return 0
	}
}

// waitNoMore takes from the steps of a finished run the times for which some of them were waiting: they will not come.
func waitNoMore(steps []workflow.Step) {
	for i := range steps {
		if steps[i].Status != workflow.StepSucceeded && steps[i].Kind != workflow.ApprovalStep {
			steps[i].WakeAt = time.Time{}
		}
	}
}
