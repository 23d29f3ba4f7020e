package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) why() *cobra.Command {
	command := &cobra.Command{
		Use:   "why [RUN…]",
		Short: "Why runs do not move, since when, and what to do about it",
		Long: `Say why a run does not move, or that it does: who executes it and what hangs there, what it waits for and until when, why
nobody claims it; and what can be done about it, as commands to paste.

Without a run it lists the unfinished runs that have stood still for longest, each with its reason; the filters of
workflow runs say among which. Of very many, only the 1,000 newest that match are looked at: --older 1h leaves out what is new.`,
		Example: `  workflow why                       # what is stuck?
  workflow why --older 1h --queue images
  workflow why RUN                   # since when, why, and what can I do?
  workflow why RUN --json | jq -r .code`,
		Args:              words(0, -1, ""),
		ValidArgsFunction: c.completeRuns,
	}
	var flags filterFlags
	flags.add(command)
	limit := command.Flags().Int("limit", 20, "list at most `N` runs")
	asJSON := command.Flags().Bool("json", false, "print a JSON array, or an object for a single RUN")
	command.RunE = func(command *cobra.Command, args []string) error {
		switch {
		case *limit < 1:
			return wrongUsage("--limit must be at least 1")
		case len(args) > 0 && flags.isSet():
			return wrongUsage("filters are for a list: leave out the runs or the filters")
		}
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			if len(args) == 1 {
				return c.whyRun(ctx, service, args[0], *asJSON)
			}
			return c.whyRuns(ctx, service, args, &flags, *limit, *asJSON)
		})
	}
	return command
}

//nolint:revive // asJSON is what the user chose
func (c *cli) whyRun(ctx context.Context, service *workflow.Service, id string, asJSON bool) error {
	why, err := reasonOf(ctx, service, id)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.out, c.encodeWhy(why))
	}
	var f facts
	f.add("run", printable(why.RunID))
	f.add("workflow", printable(why.Workflow))
	f.add("status", string(why.Status))
	f.add("why", string(why.Code))
	f.add(why.since(), moment(why.at())+" UTC, "+age(why.Now.Sub(why.at()))+" ago")
	if !why.Until.IsZero() {
		f.add("until", moment(why.Until)+" UTC, "+distance(why.Until.Sub(why.Now)))
	}
	if err := c.printFacts(f); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, line := range wrapped(sentence(why.Why), c.width()) {
		b.WriteString(line + "\n")
	}
	b.WriteString("\n")
	for _, advice := range c.advice(why.Why) {
		if advice.command != "" { // is never broken: it is there to be pasted
			b.WriteString("    " + advice.command + "\n")
			continue
		}
		for _, line := range wrapped(advice.text, c.width()) {
			b.WriteString(line + "\n")
		}
	}
	_, err = io.WriteString(c.out, b.String())
	return err
}

// distance is that of a time from now.
func distance(d time.Duration) string {
	if d < 0 {
		return age(-d) + " ago"
	}
	return "in " + age(d)
}

// sentence is the reason in words.
func sentence(why workflow.Why) string {
	text := printable(why.String())
	text = strings.ToUpper(text[:1]) + text[1:]
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

// whyRuns lists runs with their reasons: those that are named, or those that have stood still for longest.
func (c *cli) whyRuns(ctx context.Context, service *workflow.Service, ids []string, flags *filterFlags, limit int, asJSON bool) error {
	more := false
	if len(ids) == 0 {
		runs, left, err := c.still(ctx, service, flags, 0)
		if err != nil {
			return err
		}
		more = left
		for _, run := range runs[:min(limit, len(runs))] {
			ids = append(ids, run.ID)
		}
		more = more || len(runs) > limit
	}
	all, err := reasonsOf(ctx, service, ids)
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		encoded := make([]whyJSON, len(all))
		for i, why := range all {
			encoded[i] = c.encodeWhy(why)
		}
		err = printJSON(c.out, encoded)
	case len(all) == 0 && !flags.isSet():
		_, err = fmt.Fprintln(c.out, "No run is unfinished.")
	case len(all) > 0:
		err = c.printReasons(all)
	}
	switch {
	case err != nil:
		return err
	case len(all) == 0 && flags.isSet():
		return errNothing
	case more && !asJSON:
		_, err = fmt.Fprintln(c.out, "More are left out: --limit shows more of them, --older 1h leaves out what is new.")
	}
	return err
}

// still returns the unfinished runs among those that match, those first that have not changed for longest, and whether not all of
// them were looked at: at most maxLook are, if that is not 0.
func (c *cli) still(
	ctx context.Context, service *workflow.Service, flags *filterFlags, maxLook int,
) (runs []workflow.Run, more bool, err error) {
	filter, err := flags.filter(c.clock())
	if err != nil {
		return nil, false, err
	}
	if len(filter.Statuses) == 0 {
		filter.Statuses = []workflow.RunStatus{workflow.RunPending, workflow.RunRunning, workflow.RunSuspended}
	}
	filter.Limit, filter.MaxLook = pageSize, maxLook
	page, err := service.ListRuns(ctx, filter)
	slices.SortStableFunc(page.Runs, func(a, b workflow.Run) int { return a.UpdatedAt.Compare(b.UpdatedAt) })
	return page.Runs, page.Next != "", err
}

// A reason is why a run does not move, and when its row last changed: since then it waits, if the reason does not say since when.
type reason struct {
	workflow.Why
	changed time.Time
}

func reasonOf(ctx context.Context, service *workflow.Service, id string) (reason, error) {
	run, err := service.GetRun(ctx, id)
	if err != nil {
		return reason{}, err
	}
	why, err := service.Why(ctx, id)
	return reason{why, run.UpdatedAt}, err
}

// at is since when it is so.
func (r reason) at() time.Time {
	if r.Since.IsZero() {
		return r.changed
	}
	return r.Since
}

// since is how that is called.
func (r reason) since() string {
	if r.Code == workflow.WhyFinished {
		return "ended"
	}
	return "since"
}

func reasonsOf(ctx context.Context, service *workflow.Service, ids []string) (all []reason, err error) {
	for _, id := range ids {
		why, err := reasonOf(ctx, service, id)
		if err != nil {
			return nil, err
		}
		all = append(all, why)
	}
	return all, nil
}

func (c *cli) printReasons(all []reason) error {
	t := table{note: true, columns: []column{
		{head: "RUN", cut: middle, least: 36}, {head: "WORKFLOW", cut: middle, least: 10}, {head: "STATUS", drop: 1, paint: paintStatus},
		{head: "WHY"}, {head: "SINCE"}, {head: "NOTE", cut: end, least: 2 * leastNote},
	}}
	count := make(map[workflow.WhyCode]int)
	for _, why := range all {
		count[why.Code]++
		text := strings.TrimPrefix(printable(why.String()), "the run is "+string(why.Status))
		t.add(printable(why.RunID), printable(why.Workflow), string(why.Status), string(why.Code), age(why.Now.Sub(why.at())), strings.TrimPrefix(strings.TrimLeft(text, ": "), "and "))
	}
	if err := c.print(t); err != nil {
		return err
	}
	codes := slices.SortedFunc(maps.Keys(count), func(a, b workflow.WhyCode) int {
		return cmp.Or(count[b]-count[a], strings.Compare(string(a), string(b)))
	})
	var sums []string
	for _, code := range codes {
		sums = append(sums, fmt.Sprintf("%d %s", count[code], code))
	}
	_, err := fmt.Fprintf(c.out, "\n%s. What to do: %s\n", strings.Join(sums, ", "), c.command("why", "RUN"))
	return err
}
