package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) prune() *cobra.Command {
	command := &cobra.Command{
		Use:   "prune --older AGE",
		Short: "Delete runs that ended long ago",
		Long: `Delete runs that ended before then, with their steps and signals, in batches that are short transactions each and wait for no lock: it may
run beside any load, and be ended and called again. A run stays while the one that has started it, or one that it has
started, is not finished. That there was nothing to delete is success. Config.Retention does so all the time.`,
		Example: `  workflow prune --older 30d --dry-run
  workflow prune --older 30d --status completed --workflow import --yes`,
		Args: noWords,
	}
	flags := command.Flags()
	var older when
	var only statuses
	flags.Var(&older, "older", "runs that ended before then: an age such as 30d, or a time such as 2026-01-02; required")
	flags.Var(&only, "status", "only runs with one of these statuses: completed, failed, cancelled")
	name := flags.String("workflow", "", "only runs of the workflow with this `NAME`")
	var filter filterFlags
	flags.StringArrayVar(&filter.attributes, "attribute", nil, "only runs with this attribute, as `NAME=VALUE`; may be repeated")
	batch := flags.Int("batch", 0, "look at `N` runs in a transaction (default 1000)")
	dryRun := flags.Bool("dry-run", false, "only count what would go")
	asJSON := flags.Bool("json", false, "print a JSON object")
	yes := addYes(command)
	complete(command, "status", []workflow.RunStatus{workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled})
	command.RunE = func(command *cobra.Command, _ []string) error {
		if !older.isSet() {
			return wrongUsage("--older is missing: how long ago have runs ended that are to go? Such as --older 30d")
		}
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			selected, err := filter.filter(c.clock())
			if err != nil {
				return err
			}
			prune := workflow.Prune{
				Before: older.from(c.clock()), Statuses: only, Workflow: *name, Attributes: selected.Attributes, Batch: *batch, DryRun: *dryRun,
				Progress: func(p workflow.Pruned) { c.progress("Deleted", p.Runs) },
			}
			if !*dryRun {
				question := fmt.Sprintf("Delete the runs that ended before %s UTC?", moment(prune.Before))
				if err := c.sure(ctx, question, *yes); err != nil {
					return err
				}
			}
			pruned, err := service.Prune(ctx, prune)
			if err != nil {
				return fmt.Errorf("after %s: %w", numbered(pruned.Runs, "run"), err)
			}
			return c.printPruned(prune, pruned, *asJSON)
		})
	}
	return command
}

//nolint:revive // asJSON is what the user chose
func (c *cli) printPruned(prune workflow.Prune, pruned workflow.Pruned, asJSON bool) error {
	if asJSON {
		return printJSON(c.out, struct {
			DryRun  bool  `json:"dry_run"`
			Deleted int64 `json:"deleted"` // or would be
			Looked  int64 `json:"looked"`
		}{prune.DryRun, pruned.Runs, pruned.Looked})
	}
	verb := "Deleted"
	if prune.DryRun {
		verb = "Would delete"
	}
	_, err := fmt.Fprintf(c.out, "%s %s that ended before %s UTC.\n", verb, numbered(pruned.Runs, "run"), moment(prune.Before))
	return err
}
