package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

// What a shell completes is asked of the database, if there is one, and not waited for.

const completionTimeout = 2 * time.Second

type completer = func(command *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective)

// completing returns what find finds for the first word of a command.
func (c *cli) completing(find func(context.Context, *workflow.Service) ([]cobra.Completion, error)) completer {
	return func(command *cobra.Command, args []string, _ string) (found []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
		defer cancel()
		err := c.onService(ctx, func(ctx context.Context, service *workflow.Service) (err error) {
			found, err = find(ctx, service)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveError
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeRuns offers the newest runs.
func (c *cli) completeRuns(command *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.completing(func(ctx context.Context, service *workflow.Service) (found []cobra.Completion, err error) {
		page, err := service.ListRuns(ctx, workflow.RunFilter{Limit: 50})
		for _, run := range page.Runs {
			found = append(found, cobra.CompletionWithDesc(run.ID, printable(run.Workflow)+" "+string(run.Status)))
		}
		return found, err
	})(command, args, toComplete)
}

func (c *cli) completeQueues(command *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.completing(func(ctx context.Context, service *workflow.Service) (found []cobra.Completion, err error) {
		queues, err := service.LookAtQueues(ctx)
		for i := range queues {
			found = append(found, queues[i].Name)
		}
		return found, err
	})(command, args, toComplete)
}

func (c *cli) completeSchedules(command *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.completing(func(ctx context.Context, service *workflow.Service) (found []cobra.Completion, err error) {
		schedules, err := service.ListSchedules(ctx)
		for i := range schedules {
			found = append(found, cobra.CompletionWithDesc(schedules[i].Name, printable(schedules[i].Workflow)))
		}
		return found, err
	})(command, args, toComplete)
}
