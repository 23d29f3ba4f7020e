package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) cancel() *cobra.Command {
	return c.moves(move{
		verb: "cancel", done: "Cancelled", asksForOne: true,
		one:  func(service *workflow.Service) func(context.Context, string) error { return service.Cancel },
		many: (*workflow.Service).CancelRuns,
	}, &cobra.Command{
		Use:   "cancel [RUN…]",
		Short: "Stop runs, with what they have started",
		Long: `Stop runs, whoever executes them, with the runs that they have called or spawned. What their steps have done stays
done. Name the runs, or select unfinished ones by a filter. workflow resume goes on with a cancelled run.`,
		Example: `  workflow cancel RUN
  workflow cancel --workflow import --older 2d --dry-run
  workflow cancel --queue images --status pending --yes`,
	})
}

func (c *cli) resume() *cobra.Command {
	return c.moves(move{
		verb: "resume", done: "Resumed",
		one:  func(service *workflow.Service) func(context.Context, string) error { return service.Resume },
		many: (*workflow.Service).ResumeRuns,
	}, &cobra.Command{
		Use:   "resume [RUN…]",
		Short: "Go on with runs that failed or were cancelled",
		Long: `Go on with runs that failed or were cancelled, from their last good step, with the failed runs that they wait for. Name the
runs, or select some by a filter.`,
		Example: `  workflow resume RUN
  workflow resume --workflow order --status failed --newer 2h --dry-run`,
	})
}

// A move is what is done to one run, or to many.
type move struct {
	verb, done string
	asksForOne bool
	one        func(*workflow.Service) func(context.Context, string) error
	many       func(*workflow.Service, context.Context, workflow.Bulk) (workflow.BulkDone, error)
}

// movedJSON is what --json prints.
type movedJSON struct {
	DryRun   bool       `json:"dry_run"`
	Selected int64      `json:"selected"`
	Changed  int64      `json:"changed"`
	Left     int64      `json:"left"` // they were not in a state for it
	Errors   []leftJSON `json:"errors,omitempty"`
}

type leftJSON struct {
	RunID string `json:"run_id"`
	Error string `json:"error"`
}

func (c *cli) moves(m move, command *cobra.Command) *cobra.Command {
	command.Args = words(0, -1, "")
	command.ValidArgsFunction = c.completeRuns
	var flags filterFlags
	flags.add(command)
	dryRun := command.Flags().Bool("dry-run", false, "only count the runs that the filter selects")
	asJSON := command.Flags().Bool("json", false, "print a JSON object")
	yes := addYes(command)
	command.RunE = func(command *cobra.Command, ids []string) error {
		switch {
		case len(ids) == 0 && !flags.isSet():
			return wrongUsage("say which: runs by their ids, or a filter such as --workflow or --status")
		case len(ids) > 0 && (flags.isSet() || *dryRun):
			return wrongUsage("filters and --dry-run are for many: leave out the runs, or these")
		}
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			var moved movedJSON
			var err error
			if len(ids) > 0 {
				moved, err = c.moveNamed(ctx, service, m, ids, *yes)
			} else {
				moved, err = c.moveMany(ctx, service, m, &flags, *dryRun, *yes)
			}
			return c.printMoved(m, moved, *asJSON, err)
		})
	}
	return command
}

// moveNamed goes on after a run that cannot be moved; the error is that of the first.
func (c *cli) moveNamed(ctx context.Context, service *workflow.Service, m move, ids []string, yes bool) (moved movedJSON, err error) {
	if m.asksForOne {
		what := "run " + printable(ids[0])
		if len(ids) > 1 {
			what = fmt.Sprintf("%d runs", len(ids))
		} else if _, err := service.GetRun(ctx, ids[0]); err != nil {
			return moved, err
		}
		if err := c.sure(ctx, strings.ToUpper(m.verb[:1])+m.verb[1:]+" "+what+", with what has been started by it?", yes); err != nil {
			return moved, err
		}
	}
	moved.Selected = int64(len(ids))
	for _, id := range ids {
		problem := m.one(service)(ctx, id)
		if problem == nil {
			moved.Changed++
			continue
		}
		moved.Left++
		moved.Errors = append(moved.Errors, leftJSON{id, message(problem)})
		if err == nil {
			err = problem
		}
		if code := codeOf(problem); code == exitFailed {
			break // the database
		}
	}
	return moved, err
}

func (c *cli) moveMany(
	ctx context.Context, service *workflow.Service, m move, flags *filterFlags, dryRun, yes bool,
) (moved movedJSON, err error) {
	filter, err := flags.filter(c.clock())
	if err != nil {
		return moved, err
	}
	filter.Limit = pageSize
	counted, err := m.many(service, ctx, workflow.Bulk{Filter: filter, DryRun: true})
	moved = movedJSON{DryRun: dryRun, Selected: counted.Selected}
	switch {
	case err != nil:
		return moved, err
	case counted.Selected == 0:
		return moved, errNothing
	case dryRun:
		return moved, nil
	}
	question := fmt.Sprintf("%s %s that the filter selects?", strings.ToUpper(m.verb[:1])+m.verb[1:], numbered(counted.Selected, "run"))
	if err := c.sure(ctx, question, yes); err != nil {
		return moved, err
	}
	done, err := m.many(service, ctx, workflow.Bulk{Filter: filter, Progress: func(d workflow.BulkDone) { c.progress(m.done, d.Changed) }})
	moved.Selected, moved.Changed, moved.Left = done.Selected, done.Changed, done.Left
	if err == nil && done.Left > 0 {
		err = errChanged
	}
	return moved, err
}

// progress tells somebody who waits at a terminal.
func (c *cli) progress(what string, n int64) {
	if c.asks && n >= pageSize {
		fmt.Fprintf(c.err, "%s %s so far\n", what, numbered(n, "run"))
	}
}

func numbered(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printMoved prints what was done, also when that ended with an error.
//
//nolint:revive // asJSON is what the user chose
func (c *cli) printMoved(m move, moved movedJSON, asJSON bool, err error) error {
	if errors.Is(err, errDeclined) || errors.Is(err, errUsage) || moved.Selected == 0 {
		return err
	}
	if asJSON {
		return errors.Join(err, printJSON(c.out, moved))
	}
	var b strings.Builder
	switch {
	case moved.DryRun:
		fmt.Fprintf(&b, "Would %s %s.\n", m.verb, numbered(moved.Selected, "run"))
	case moved.Changed > 0:
		fmt.Fprintf(&b, "%s %s.\n", m.done, numbered(moved.Changed, "run"))
	}
	if len(moved.Errors) > 1 {
		for _, left := range moved.Errors {
			fmt.Fprintf(&b, "%s: %s\n", printable(left.RunID), printable(left.Error))
		}
		err = errorsOf(err, moved.Left)
	} else if moved.Left > 0 && len(moved.Errors) == 0 {
		fmt.Fprintf(&b, "%s had changed meanwhile.\n", numbered(moved.Left, "run"))
	}
	_, failed := io.WriteString(c.out, b.String())
	return errors.Join(err, failed)
}

// errorsOf says how many there were; its code is that of the first.
func errorsOf(first error, n int64) error { return severalError{first, n} }

type severalError struct {
	first error
	n     int64
}

func (e severalError) Error() string { return numbered(e.n, "run") + " could not be moved" }

func (e severalError) Unwrap() error { return e.first }
