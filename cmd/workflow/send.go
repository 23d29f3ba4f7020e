package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

const maxPayload = 64 << 20 // bytes that are read; the service has a lower bound of its own

func (c *cli) signal() *cobra.Command {
	command := &cobra.Command{
		Use:   "signal RUN NAME [JSON]",
		Short: "Send a signal to a run",
		Long: `Send a signal to a run, under the name that the workflow waits for, with JSON that it can decode (default null; - reads it from
the standard input). It says whether the run waits for it now; one that does not takes it when it asks. With --key a
signal that was sent before is not sent again.`,
		Example: `  workflow signal RUN paid '{"cents": 1999}' --key evt_1
  workflow signal RUN paid - < payment.json`,
		Args:              words(2, 3, "RUN NAME [JSON]"),
		ValidArgsFunction: c.completeRuns,
	}
	key := command.Flags().String("key", "", "send it only if none of this name and `KEY` was sent to the run before")
	asJSON := command.Flags().Bool("json", false, "print a JSON object")
	command.RunE = func(command *cobra.Command, args []string) error {
		payload, err := c.payload(args, 2)
		if err != nil {
			return err
		}
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			return c.send(ctx, service, args[0], args[1], payload, *key, *asJSON)
		})
	}
	return command
}

// payload is the JSON among the words of a command line, or null.
func (c *cli) payload(args []string, at int) (json.RawMessage, error) {
	if len(args) <= at {
		return json.RawMessage("null"), nil
	}
	text := []byte(args[at])
	if args[at] == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(c.in, maxPayload)); err != nil {
			return nil, fmt.Errorf("read the standard input: %w", err)
		}
	}
	if !json.Valid(text) {
		return nil, wrongUsage("%s is not JSON: a text needs quotes of its own, as in '\"text\"'", cut(printable(string(text))))
	}
	return text, nil
}

// sentJSON is what --json prints.
type sentJSON struct {
	RunID  string `json:"run_id"`
	Name   string `json:"name"`
	Waited bool   `json:"waited_for"` // the run waited for it at that moment
}

func (c *cli) send(ctx context.Context, service *workflow.Service, id, name string, payload json.RawMessage, key string, asJSON bool) error {
	run, err := service.GetRun(ctx, id)
	if err != nil {
		return err
	}
	var options []workflow.SendOption
	if key != "" {
		options = append(options, workflow.WithKey(key))
	}
	if err := service.SendSignal(ctx, id, name, payload, options...); err != nil {
		return err
	}
	waited := slices.Contains(run.WaitsFor, "signal:"+name)
	switch {
	case asJSON:
		return printJSON(c.out, sentJSON{id, name, waited})
	case waited:
		_, err = fmt.Fprintln(c.out, "Sent. The run waits for it, and goes on.")
	case run.Status == workflow.RunSuspended:
		_, err = fmt.Fprintf(c.out, "Sent, but the run does not wait for it now: it %s.\n", standing(run))
	default:
		_, err = fmt.Fprintln(c.out, "Sent. The run takes it when it asks for it.")
	}
	return err
}
