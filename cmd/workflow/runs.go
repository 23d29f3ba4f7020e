package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sqlworkflow/workflow"
)

const runsUsage = `Usage: workflow runs [flags]

List runs, newest first, with their queues if any is in one. The last column tells why a run failed or is blocked,
who executes it, or what it waits for.
`

const statusNames = "pending, running, suspended, completed, failed or cancelled"

func (c *cli) runs(ctx context.Context, args []string) int {
	t := newTarget("runs", runsUsage)
	var filter workflow.RunFilter
	t.StringVar(&filter.Workflow, "workflow", "", "only runs of the workflow with this `name`")
	t.Func("status", "only runs with one of these `statuses`, such as failed,cancelled", func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			status := workflow.RunStatus(strings.TrimSpace(name))
			if !status.Valid() {
				return fmt.Errorf("%q is no status: use %s, or several of them with commas between", status, statusNames)
			}
			filter.Statuses = append(filter.Statuses, status)
		}
		return nil
	})
	t.StringVar(&filter.ParentID, "parent", "", "only runs that the run with this `id` has called or spawned")
	t.Func("suspended-for", "only runs that are suspended for this `reason`, such as signal or children", func(reason string) error {
		filter.SuspendedFor = workflow.SuspendReason(reason)
		return nil
	})
	limit := t.Int("limit", 20, "list at most `N` runs")
	asJSON := t.Bool("json", false, "print a JSON array, with inputs and outputs")
	return c.onState(ctx, t, args, func(service *workflow.Service) error {
		if *limit < 1 {
			return fmt.Errorf("%w: --limit must be at least 1", workflow.ErrInvalidArgument)
		}
		runs, more, err := newest(ctx, service, filter, *limit)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.stdout, encodeRuns(runs))
		}
		if err := printRuns(c.stdout, runs); err != nil || !more {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "Older runs are left out; --limit %d shows as many again.\n", 2**limit)
		return err
	})
}

// onState calls read with the state API of the schema that the flags name. What read finds wrong with its arguments is
// wrong usage.
func (c *cli) onState(ctx context.Context, t *target, args []string, read func(*workflow.Service) error) int {
	db, code := c.open(t, args)
	if db == nil {
		return code
	}
	defer db.Close()
	service, err := workflow.New(workflow.Config{DB: db, Schema: *t.schema})
	if err == nil {
		defer service.Close()
		err = read(service)
	}
	if err == nil {
		return exitOK
	}
	problem := strings.TrimPrefix(err.Error(), "workflow: ")
	if errors.Is(err, workflow.ErrInvalidArgument) && ctx.Err() == nil {
		return c.wrongUsage(problem, t.help())
	}
	fmt.Fprintf(c.stderr, "workflow: %s\n", problem)
	return exitFailed
}

const pageSize = 1000

// newest returns up to limit runs, and whether there are more.
func newest(
	ctx context.Context, service *workflow.Service, filter workflow.RunFilter, limit int,
) (runs []workflow.Run, more bool, err error) {
	for {
		filter.Limit = min(limit-len(runs), pageSize)
		page, err := service.ListRuns(ctx, filter)
		if err != nil {
			return nil, false, err
		}
		runs = append(runs, page.Runs...)
		if len(runs) == limit || page.Next == "" {
			return runs, page.Next != "", nil
		}
		filter.Cursor = page.Next
	}
}

// printRuns has a column for queues if any of the runs is in one.
func printRuns(w io.Writer, runs []workflow.Run) error {
	rows := [][]string{{"RUN", "WORKFLOW", "STATUS", "QUEUE", "CREATED (UTC)", "CHANGED (UTC)", "NOTE"}}
	queued := false
	for _, run := range runs {
		queued = queued || run.Queue != ""
		rows = append(rows, []string{
			printable(run.ID), printable(run.Workflow), string(run.Status), queueOf(run), moment(run.CreatedAt), moment(run.UpdatedAt), note(run),
		})
	}
	if !queued {
		for i, row := range rows {
			rows[i] = slices.Delete(row, 3, 4)
		}
	}
	return printTable(w, rows)
}

// queueOf says in which queue a run is, and where in it: the partition, and any priority but the usual one.
func queueOf(run workflow.Run) string {
	text := printable(run.Queue)
	if run.Partition != "" {
		text += ", partition " + printable(run.Partition)
	}
	if run.Priority != workflow.PriorityNormal {
		text += ", priority " + run.Priority.String()
	}
	return text
}

// note says in a line what there is to say about a run in its state.
func note(run workflow.Run) string {
	switch err := cut(failure(stored(run.Err))); {
	case run.Status.Finished():
		return err
	case run.SuspendedFor == workflow.SuspendedBlocked:
		return standing(run) + ": " + err
	default:
		return standing(run)
	}
}

// standing says who has an unfinished run, or what it waits for.
func standing(run workflow.Run) string {
	switch {
	case run.Status == workflow.RunRunning && run.Owner == "":
		return "driven by hand"
	case run.Status == workflow.RunRunning:
		return "by worker " + printable(run.Owner)
	case run.Status == workflow.RunPending && run.RunAt.After(run.UpdatedAt):
		return "waits until " + moment(run.RunAt) + " UTC"
	case run.Status == workflow.RunPending && run.Queue != "":
		return "waits in its queue"
	case run.Status == workflow.RunPending:
		return "waits for a worker"
	}
	switch run.SuspendedFor {
	case workflow.SuspendedForTime:
		return "goes on at " + moment(run.RunAt) + " UTC"
	case workflow.SuspendedForSignal, workflow.SuspendedForChildren:
		return waitsFor(run)
	case workflow.SuspendedByHand:
		return "suspended by hand"
	case workflow.SuspendedBlocked:
		return "blocked since " + moment(run.BlockedAt) + ", tried again at " + moment(run.RunAt) + " UTC"
	default: // of a later release
		return "waits for " + printable(string(run.SuspendedFor))
	}
}

// waitsFor says what has to come for a run, and until when it waits. A step that waits for a signal is not named beside that.
func waitsFor(run workflow.Run) string {
	var all []string
	asks := make(map[string]bool)
	for _, what := range run.WaitsFor {
		signal, ok := strings.CutPrefix(what, "signal:")
		if !ok {
			continue
		}
		step, decides := strings.CutPrefix(signal, approvalSignal)
		asks[step] = true
		if decides {
			all = append(all, "a decision of "+step)
		} else {
			all = append(all, "signal "+signal)
		}
	}
	for _, what := range run.WaitsFor {
		step, ok := strings.CutPrefix(what, "step:")
		name, _, _ := strings.Cut(step[strings.LastIndexByte(step, '/')+1:], "#")
		if ok && !asks[step] && !asks[name] {
			all = append(all, "the runs of step "+step)
		}
	}
	text := "waits for " + printable(strings.Join(all, ", "))
	if !run.RunAt.IsZero() {
		text += ", until " + moment(run.RunAt) + " UTC"
	}
	return text
}
