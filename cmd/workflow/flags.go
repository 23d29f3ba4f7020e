package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sqlworkflow/workflow"
)

// when is a flag that is a time: an age, such as 90s, 2h or 30d, or a time of the calendar.
type when struct {
	ago time.Duration
	at  time.Time
}

var _ pflag.Value = (*when)(nil)

func (w *when) String() string { return "" }

func (w *when) Type() string { return "AGE|TIME" }

func (w *when) Set(text string) error {
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			*w = when{at: at}
			return nil
		}
	}
	ago, err := parseAge(text)
	if err != nil {
		return fmt.Errorf("use an age such as 90s, 2h or 30d, or a time such as 2026-01-02 or 2026-01-02T03:04:05Z (UTC unless it says otherwise)")
	}
	*w = when{ago: ago}
	return nil
}

func (w *when) isSet() bool { return *w != when{} }

func (w *when) from(now time.Time) time.Time {
	if w.ago > 0 {
		return now.Add(-w.ago)
	}
	return w.at
}

var days = regexp.MustCompile(`^(?:(\d{1,4})w)?(?:(\d{1,5})d)?(.*)$`)

// parseAge knows weeks and days besides what time.ParseDuration does.
func parseAge(text string) (time.Duration, error) {
	parts := days.FindStringSubmatch(text)
	weeks, _ := strconv.Atoi(parts[1])
	whole, _ := strconv.Atoi(parts[2])
	sum := time.Duration(7*weeks+whole) * 24 * time.Hour
	if rest := parts[3]; rest != "" || sum == 0 {
		d, err := time.ParseDuration(rest)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	if sum <= 0 {
		return 0, fmt.Errorf("%q is not above 0", text)
	}
	return sum, nil
}

// statuses is a flag that is a list of statuses.
type statuses []workflow.RunStatus

func (s *statuses) String() string { return "" }

func (s *statuses) Type() string { return "STATUS[,STATUS]" }

var allStatuses = []workflow.RunStatus{
	workflow.RunPending, workflow.RunRunning, workflow.RunSuspended, workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled,
}

func (s *statuses) Set(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		status := workflow.RunStatus(strings.TrimSpace(name))
		if !status.Valid() {
			return fmt.Errorf("%q is no status: use %s, or several of them with commas between", status, oneOf(allStatuses))
		}
		*s = append(*s, status)
	}
	return nil
}

// oneOf lists what a flag may be.
func oneOf[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = string(one)
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

var reasons = []workflow.SuspendReason{
	workflow.SuspendedForTime, workflow.SuspendedForSignal, workflow.SuspendedForChildren, workflow.SuspendedBlocked, workflow.SuspendedByHand,
}

// filterFlags select runs.
type filterFlags struct {
	workflow, queue, parent, suspendedFor string
	statuses                              statuses
	attributes                            []string
	newer, older                          when
}

func (f *filterFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.workflow, "workflow", "", "only runs of the workflow with this `NAME`")
	flags.Var(&f.statuses, "status", "only runs with one of these statuses, such as failed,cancelled")
	flags.StringVar(&f.suspendedFor, "suspended-for", "", "only runs that are suspended for this `REASON`: "+oneOf(reasons))
	flags.StringVar(&f.queue, "queue", "", "only runs in the queue with this `NAME`")
	flags.StringVar(&f.parent, "parent", "", "only runs that this `RUN` has called or spawned")
	flags.StringArrayVar(&f.attributes, "attribute", nil, "only runs with this attribute, as `NAME=VALUE`; may be repeated")
	flags.Var(&f.newer, "newer", "only runs created since then: an age such as 2h or 30d, or a time such as 2026-01-02T03:04:05Z")
	flags.Var(&f.older, "older", "only runs created before then")
	complete(command, "status", allStatuses)
	complete(command, "suspended-for", reasons)
}

// complete has a flag completed from a fixed list.
func complete[T ~string](command *cobra.Command, flag string, from []T) {
	words := make([]cobra.Completion, len(from))
	for i, word := range from {
		words[i] = string(word)
	}
	must(command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)))
}

// must is for mistakes in the program, which any test meets.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (f *filterFlags) isSet() bool {
	return f.workflow != "" || f.queue != "" || f.parent != "" || f.suspendedFor != "" || len(f.statuses) > 0 || len(f.attributes) > 0 ||
		f.newer.isSet() || f.older.isSet()
}

// filter returns what the flags say at a time.
func (f *filterFlags) filter(now time.Time) (workflow.RunFilter, error) {
	filter := workflow.RunFilter{
		Workflow: f.workflow, Queue: f.queue, ParentID: f.parent, Statuses: f.statuses, SuspendedFor: workflow.SuspendReason(f.suspendedFor),
		CreatedFrom: f.newer.from(now), CreatedBefore: f.older.from(now),
	}
	if f.suspendedFor != "" && !slices.Contains(reasons, filter.SuspendedFor) {
		return filter, wrongUsage("--suspended-for %q: use %s", f.suspendedFor, oneOf(reasons))
	}
	for _, attribute := range f.attributes {
		name, value, found := strings.Cut(attribute, "=")
		if !found || name == "" || value == "" {
			return filter, wrongUsage("--attribute %q: want NAME=VALUE", attribute)
		}
		if filter.Attributes == nil {
			filter.Attributes = make(map[string]string)
		}
		filter.Attributes[name] = value
	}
	return filter, nil
}
