package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) decide() *cobra.Command {
	command := &cobra.Command{
		Use:   "decide [APPROVAL JSON]",
		Short: "List what people are asked, and decide it",
		Long: `Without words, list the open approvals: what is asked, and whom, newest first. With the id of one, decide it as the person that
--by names, who has to be one of those who are asked. The decision is JSON that the workflow can decode, often true or
false. The first that counts wins.`,
		Example: `  workflow decide
  workflow decide RUN/manager true --by anna
  workflow decide RUN/manager '{"approved": false, "why": "too much"}' --by ben`,
		Args: words(0, 2, "APPROVAL JSON"),
	}
	by := command.Flags().String("by", "", "decide as the person of this `NAME`; in a list: only what that person may decide")
	limit := command.Flags().Int("limit", 20, "list at most `N` approvals")
	asJSON := command.Flags().Bool("json", false, "print a JSON array; an object when deciding")
	command.RunE = func(command *cobra.Command, args []string) error {
		switch {
		case len(args) == 1:
			return wrongUsage("the decision is missing: JSON, such as true or false")
		case len(args) == 2 && *by == "":
			return wrongUsage("--by is missing: whose decision is it?")
		case *limit < 1 || *limit > pageSize:
			return wrongUsage("--limit must be from 1 to %d", pageSize)
		}
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			if len(args) == 0 {
				return c.listApprovals(ctx, service, workflow.ApprovalFilter{From: *by, Limit: *limit}, *asJSON)
			}
			return c.decideOne(ctx, service, args, *by, *asJSON)
		})
	}
	return command
}

type approvalJSON struct {
	ID       string          `json:"id"`
	RunID    string          `json:"run_id"`
	Workflow string          `json:"workflow"`
	Step     string          `json:"step"`
	From     []string        `json:"from"`
	For      json.RawMessage `json:"for"`
	AskedAt  time.Time       `json:"asked_at"`
	Until    time.Time       `json:"until,omitzero"`
}

//nolint:revive // asJSON is what the user chose
func (c *cli) listApprovals(ctx context.Context, service *workflow.Service, filter workflow.ApprovalFilter, asJSON bool) error {
	page, err := service.ListApprovals(ctx, filter)
	if err != nil {
		return err
	}
	if asJSON {
		encoded := make([]approvalJSON, len(page.Approvals))
		for i, a := range page.Approvals {
			encoded[i] = approvalJSON{
				ID: a.ID, RunID: a.RunID, Workflow: a.Workflow, Step: a.Step, From: append([]string{}, a.From...), For: a.For,
				AskedAt: utc(a.AskedAt), Until: utc(a.Until),
			}
		}
		return printJSON(c.out, encoded)
	}
	if len(page.Approvals) == 0 {
		_, err := fmt.Fprintln(c.out, "Nobody is asked for anything.")
		return err
	}
	t := table{note: true, columns: []column{
		{head: "APPROVAL", cut: middle, least: 60}, {head: "WORKFLOW", cut: middle, least: 10, drop: 1}, {head: "ASKED"}, {head: "UNTIL"},
		{head: "OF WHOM", cut: end, least: 10}, {head: "FOR", cut: end, least: leastNote},
	}}
	for _, a := range page.Approvals {
		from := "anybody"
		if len(a.From) > 0 {
			from = strings.Join(a.From, ", ")
		}
		t.add(printable(a.ID), printable(a.Workflow), c.ago(a.AskedAt), c.ago(a.Until), printable(from), cut(printable(string(a.For))))
	}
	t.withoutEmpty("UNTIL")
	if err := c.print(t); err != nil || page.Next == "" {
		return err
	}
	_, err = fmt.Fprintf(c.out, "Older ones are left out; --limit %d shows as many again.\n", min(2*filter.Limit, pageSize))
	return err
}

// decideOne refuses what would be kept without ever counting, as it is a typing error then.
//
//nolint:revive // asJSON is what the user chose
func (c *cli) decideOne(ctx context.Context, service *workflow.Service, args []string, by string, asJSON bool) error {
	id := args[0]
	decision, err := c.payload(args, 1)
	if err != nil {
		return err
	}
	escaped, key, _ := strings.Cut(id, "/")
	runID, err := url.PathUnescape(escaped)
	if err != nil || key == "" {
		return wrongUsage("%q is no id of an approval, such as RUN/manager: workflow decide lists them", id)
	}
	step, err := service.GetStepState(ctx, runID, key)
	if err != nil {
		return err
	}
	var request struct {
		From []string `json:"from"`
	}
	_ = json.Unmarshal(step.Request, &request) // what was written by hand is asked of anybody
	switch {
	case step.Kind != workflow.ApprovalStep:
		return absentError{fmt.Sprintf("run %q asks nothing under %q: workflow decide lists what is asked", runID, key)}
	case step.Status != workflow.StepScheduled:
		return fmt.Errorf("approval %q is decided or out of time: workflow show has who said what: %w", id, workflow.ErrStepFinished)
	case len(request.From) > 0 && !slices.Contains(request.From, by):
		return wrongUsage("--by %q would not count: %s may decide this", by, strings.Join(request.From, ", "))
	}
	if err := service.DecideApproval(ctx, id, by, decision); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.out, map[string]string{"approval": id, "by": by})
	}
	_, err = fmt.Fprintln(c.out, "Sent. If the workflow can decode the decision it counts, and the run goes on.")
	return err
}

// absentError tells that something is not there.
type absentError struct{ text string }

func (e absentError) Error() string { return e.text }

func (absentError) Is(target error) bool { return target == errNothing }
