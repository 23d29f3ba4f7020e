package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) queues() *cobra.Command {
	command := &cobra.Command{
		Use:   "queues",
		Short: "List queues and what waits in them; pause, resume, set",
		Long: `List the queues by name. RUNNING is what runs, of at most the limit; WAITING is what would begin if there was room, and LAG for how
long the one of these that has waited longest. Where there are more than 10,000 they are not counted further (10000+).`,
		Example: `  workflow queues
  workflow queues --json | jq -r '.[] | select(.waiting > 1000) | .name'
  workflow queues pause images
  workflow queues set images --max-running 20`,
		Args: noWords,
	}
	asJSON := command.Flags().Bool("json", false, "print a JSON array")
	command.RunE = func(command *cobra.Command, _ []string) error {
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			queues, err := service.LookAtQueues(ctx)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return printJSON(c.out, encodeQueues(queues))
			case len(queues) == 0:
				_, err = fmt.Fprintln(c.out, "There are no queues.")
				return err
			default:
				return c.print(c.queueTable(queues))
			}
		})
	}
	command.AddCommand(
		c.turns("pause", "queue", "Let no run of a queue begin", "Let no run of a queue begin until workflow queues resume. Those that run go on; new ones wait.",
			"Paused queue", c.completeQueues, func(s *workflow.Service) func(context.Context, string) error { return s.PauseQueue }),
		c.turns("resume", "queue", "Let the runs of a paused queue begin again", "Let the runs of a paused queue begin again.",
			"Resumed queue", c.completeQueues, func(s *workflow.Service) func(context.Context, string) error { return s.ResumeQueue }),
		c.setQueue())
	return command
}

// turns is a command that turns something that has a name.
func (c *cli) turns(
	verb, kind, short, long, done string, names completer, turn func(*workflow.Service) func(context.Context, string) error,
) *cobra.Command {
	command := &cobra.Command{
		Use: verb + " NAME", Short: short, Long: long, Example: "  workflow " + kind + "s " + verb + " NAME",
		Args: words(1, 1, "the name of a "+kind), ValidArgsFunction: names,
	}
	asJSON := command.Flags().Bool("json", false, "print a JSON object")
	command.RunE = func(command *cobra.Command, args []string) error {
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			if err := turn(service)(ctx, args[0]); err != nil {
				return err
			}
			return c.did(*asJSON, map[string]string{kind: args[0], "done": verb}, "%s %q.", done, printable(args[0]))
		})
	}
	return command
}

// did tells what was done.
//
//nolint:revive // asJSON is what the user chose
func (c *cli) did(asJSON bool, encoded map[string]string, format string, args ...any) error {
	if asJSON {
		return printJSON(c.out, encoded)
	}
	_, err := fmt.Fprintf(c.out, format+"\n", args...)
	return err
}

func (c *cli) queueTable(queues []workflow.QueueState) table {
	t := table{columns: []column{
		{head: "QUEUE", cut: middle, least: 12}, {head: "STATE", paint: paintStatus}, {head: "RUNNING"}, {head: "WAITING"}, {head: "LAG"},
		{head: "LIMITS", cut: end, least: 14, drop: 1},
	}}
	for i := range queues {
		q := &queues[i]
		state, lag := "open", ""
		if !q.PausedAt.IsZero() {
			state = "paused"
		}
		if q.Waiting > 0 {
			lag = age(q.Lag)
		}
		running := counted(q.Running, q.AtLeast)
		if q.MaxRunning > 0 {
			running += " of " + strconv.Itoa(q.MaxRunning)
		}
		t.add(printable(q.Name), state, running, counted(q.Waiting, q.AtLeast), lag, limits(q.Queue))
	}
	t.withoutEmpty("LAG", "LIMITS")
	return t
}

// limits are those besides how many run at once.
func limits(q workflow.Queue) string {
	var all []string
	if q.MaxPerWorker > 0 {
		all = append(all, fmt.Sprintf("%d per worker", q.MaxPerWorker))
	}
	if q.MaxPerPartition > 0 {
		all = append(all, fmt.Sprintf("%d per partition", q.MaxPerPartition))
	}
	if q.Rate.Count > 0 {
		all = append(all, rate(q.Rate))
	}
	return strings.Join(all, ", ")
}

// counted is a number of runs, as far as they were counted.
func counted(n int64, more bool) string { //nolint:revive // more is what was found
	text := strconv.FormatInt(n, 10)
	if more {
		text += "+"
	}
	return text
}

func rate(r workflow.Rate) string {
	if r.Count == 0 {
		return ""
	}
	text := fmt.Sprintf("%d/%s", r.Count, short(r.Per))
	if r.Burst > 1 {
		text += fmt.Sprintf(" burst %d", r.Burst)
	}
	return text
}

// short is a duration without units that are 0 at its end.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

type queueJSON struct {
	Name            string    `json:"name"`
	MaxRunning      int       `json:"max_running,omitempty"`
	MaxPerWorker    int       `json:"max_per_worker,omitempty"`
	MaxPerPartition int       `json:"max_per_partition,omitempty"`
	Rate            string    `json:"rate,omitempty"`
	PausedAt        time.Time `json:"paused_at,omitzero"`
	Running         int64     `json:"running"`
	Waiting         int64     `json:"waiting"`
	AtLeast         bool      `json:"at_least,omitempty"` // there are more than were counted
	LagSeconds      float64   `json:"lag_seconds"`
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
}

func encodeQueues(queues []workflow.QueueState) []queueJSON {
	encoded := make([]queueJSON, len(queues))
	for i := range queues {
		q := &queues[i]
		encoded[i] = queueJSON{
			Name: q.Name, MaxRunning: q.MaxRunning, MaxPerWorker: q.MaxPerWorker, MaxPerPartition: q.MaxPerPartition, Rate: rate(q.Rate),
			PausedAt: utc(q.PausedAt), Running: q.Running, Waiting: q.Waiting, AtLeast: q.AtLeast, LagSeconds: q.Lag.Seconds(),
			CreatedAt: utc(q.CreatedAt), UpdatedAt: utc(q.UpdatedAt),
		}
	}
	return encoded
}

func (c *cli) setQueue() *cobra.Command {
	command := &cobra.Command{
		Use:   "set NAME",
		Short: "Change the limits of a queue, or make one",
		Long: `Change those limits of a queue that are given; the others stay. What runs goes on; what begins afterwards obeys the new ones. A queue
that is not there is made, after a question.`,
		Example: `  workflow queues set images --max-running 20 --rate 10/1s
  workflow queues set images --rate none`,
		Args: words(1, 1, "the name of a queue"), ValidArgsFunction: c.completeQueues,
	}
	flags := command.Flags()
	var given workflow.Queue
	flags.IntVar(&given.MaxRunning, "max-running", 0, "how many of its runs run at once; 0: no bound")
	flags.IntVar(&given.MaxPerWorker, "max-per-worker", 0, "how many run at once in a process; 0: no bound")
	flags.IntVar(&given.MaxPerPartition, "max-per-partition", 0, "how many of a partition run at once; 0: no bound")
	var text string
	flags.StringVar(&text, "rate", "", "how often runs begin, as `N/TIME`, such as 10/1s or 100/1h; none: no bound")
	flags.IntVar(&given.Rate.Burst, "burst", 0, "how many may begin at once after a pause of the rate")
	asJSON := flags.Bool("json", false, "print a JSON object")
	yes := addYes(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		rate, err := parseRate(text)
		if err != nil {
			return err
		}
		given.Rate.Count, given.Rate.Per = rate.Count, rate.Per
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			found, err := service.GetQueue(ctx, args[0])
			if errors.Is(err, workflow.ErrQueueNotFound) {
				found.Name, err = args[0], c.sure(ctx, fmt.Sprintf("There is no queue %q: make it?", printable(args[0])), *yes)
			}
			if err != nil {
				return err
			}
			queue := found.Queue
			for flag, set := range map[string]func(){
				"max-running":       func() { queue.MaxRunning = given.MaxRunning },
				"max-per-worker":    func() { queue.MaxPerWorker = given.MaxPerWorker },
				"max-per-partition": func() { queue.MaxPerPartition = given.MaxPerPartition },
				"rate":              func() { queue.Rate.Count, queue.Rate.Per = given.Rate.Count, given.Rate.Per },
				"burst":             func() { queue.Rate.Burst = given.Rate.Burst },
			} {
				if flags.Changed(flag) {
					set()
				}
			}
			if queue.Rate.Count == 0 {
				queue.Rate = workflow.Rate{}
			}
			if err := service.SetQueue(ctx, queue); err != nil {
				return err
			}
			return c.did(*asJSON, map[string]string{"queue": args[0], "done": "set"}, "Set queue %q.", printable(args[0]))
		})
	}
	return command
}

func parseRate(text string) (workflow.Rate, error) {
	if text == "" || text == "none" {
		return workflow.Rate{}, nil
	}
	count, per, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	if err == nil && n > 0 {
		if d, err := parseAge(per); err == nil {
			return workflow.Rate{Count: n, Per: d}, nil
		}
	}
	return workflow.Rate{}, wrongUsage("--rate %q: want N/TIME, such as 10/1s or 100/1h, or none", text)
}
