package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) doctor() *cobra.Command {
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Find out whether all is well, from rights to workers",
		Long: `Look at everything once: the connection and what stands in between, the server, the version of the schema, the rights of a role, the
clock, who works and who has died, what hangs, what waits and why, queues and schedules, long snapshots, locks that somebody
holds, dead rows, connections, and what it costs. It only reads. It counts all runs in one pass, a third of a second for a
million in memory.

Each finding is ok, warn or bad, with what to do about it; with one that is bad the exit code is 5.`,
		Example: `  workflow doctor
  workflow doctor --role app              # what may the application's role do?
  workflow doctor --json | jq '.findings[] | select(.state != "ok")'`,
		Args: noWords,
	}
	role := command.Flags().String("role", "", "look at the rights of this `ROLE` (default: the one that connects)")
	sample := command.Flags().Duration("sample", time.Second, "for how long to measure what the database does; 0: not at all")
	asJSON := command.Flags().Bool("json", false, "print a JSON object")
	command.RunE = func(command *cobra.Command, _ []string) error {
		if *sample < 0 || *sample > time.Minute {
			return wrongUsage("--sample must be from 0 to 1m")
		}
		connector, err := c.connector()
		if err != nil {
			return err
		}
		wire := &wire{}
		connector.Dialer(wire)
		db := sql.OpenDB(connector)
		defer db.Close()
		service, err := workflow.New(workflow.Config{DB: db, Schema: c.target.schema})
		if err != nil {
			return err
		}
		defer service.Close()
		d := &diagnosis{c: c, db: db, service: service, wire: wire, role: *role, sample: *sample}
		if err := d.examine(command.Context()); err != nil {
			return err
		}
		return d.print(*asJSON)
	}
	return command
}

// A finding is what is known about one thing.
type finding struct {
	Check  string   `json:"check"`
	State  string   `json:"state"` // ok, warn or bad
	Text   string   `json:"text"`
	Advice []string `json:"advice,omitempty"` // sentences, commands and statements
}

const (
	ok   = "ok"
	warn = "warn"
	bad  = "bad"
)

// diagnosis is what doctor does.
type diagnosis struct {
	c        *cli
	db       *sql.DB
	service  *workflow.Service
	wire     *wire
	role     string
	sample   time.Duration
	findings []finding
	workers  []workflow.Worker // once they have been looked at
	noSchema bool
}

func (d *diagnosis) found(check, state, text string, advice ...string) {
	d.findings = append(d.findings, finding{check, state, text, advice})
}

// A check that cannot look is a finding as well. Those of tables need some.
var checks = []struct {
	name   string
	tables bool
	look   func(*diagnosis, context.Context) error
}{
	{"server", false, (*diagnosis).server},
	{"connection", false, (*diagnosis).connection},
	{"schema", false, (*diagnosis).schema},
	{"rights", true, (*diagnosis).rights},
	{"clock", false, (*diagnosis).clock},
	{"workers", true, (*diagnosis).working},
	{"steps", true, (*diagnosis).hanging},
	{"runs", true, (*diagnosis).runs},
	{"queues", true, (*diagnosis).queues},
	{"schedules", true, (*diagnosis).schedules},
	{"snapshots", false, (*diagnosis).snapshots},
	{"locks", true, (*diagnosis).locks},
	{"tables", true, (*diagnosis).tables},
	{"connections", false, (*diagnosis).connections},
	{"cost", true, (*diagnosis).cost},
}

func (d *diagnosis) examine(ctx context.Context) error {
	clock, err := clockOf(ctx, d.db) // also whether it answers at all
	if err != nil {
		return err
	}
	if d.c.clock == nil {
		d.c.clock = clock
		defer func() { d.c.clock = nil }()
	}
	for _, check := range checks {
		if check.tables && d.noSchema {
			continue
		}
		if err := check.look(d, ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d.found(check.name, bad, "cannot be looked at: "+printable(message(err)))
		}
	}
	return nil
}

// print ends with an error if something is bad.
//
//nolint:revive // asJSON is what the user chose
func (d *diagnosis) print(asJSON bool) error {
	healthy := true
	for _, f := range d.findings {
		healthy = healthy && f.State != bad
	}
	if asJSON {
		err := printJSON(d.c.out, struct {
			Healthy  bool      `json:"healthy"`
			Findings []finding `json:"findings"`
		}{healthy, d.findings})
		if err != nil {
			return err
		}
	} else if _, err := io.WriteString(d.c.out, d.text()); err != nil {
		return err
	}
	if !healthy {
		return errUnhealthy
	}
	return nil
}

// text has each finding with its advice under it. What is to be pasted is not broken.
func (d *diagnosis) text() string {
	const indent = 19 // of the text: state and check come before it
	var b strings.Builder
	worst := map[string]int{}
	for _, f := range d.findings {
		worst[f.State]++
		state := fmt.Sprintf("%-4s", f.State)
		if d.c.colour {
			state = paintStatus(f.State) + strings.Repeat(" ", 4-len(f.State))
		}
		for i, line := range wrapped(f.Text, d.c.width()-indent) {
			if i == 0 {
				fmt.Fprintf(&b, "%s  %-11s  %s\n", state, f.Check, line)
			} else {
				fmt.Fprintf(&b, "%*s%s\n", indent, "", line)
			}
		}
		for _, advice := range f.Advice {
			if strings.HasPrefix(advice, "workflow ") || strings.HasSuffix(advice, ";") {
				fmt.Fprintf(&b, "%*s  %s\n", indent, "", advice)
				continue
			}
			for _, line := range wrapped(advice, d.c.width()-indent) {
				fmt.Fprintf(&b, "%*s%s\n", indent, "", line)
			}
		}
	}
	switch {
	case worst[bad] > 0:
		fmt.Fprintf(&b, "\n%d bad, %d to look at.\n", worst[bad], worst[warn])
	case worst[warn] > 0:
		fmt.Fprintf(&b, "\nNothing is bad, %d to look at.\n", worst[warn])
	default:
		b.WriteString("\nAll is well.\n")
	}
	return b.String()
}

// schemaLiteral is the schema's name for a statement. Statements here have no arguments: behind a pooler lib/pq needs two round trips for one
// with arguments, and its halves may reach different servers.
func (d *diagnosis) schemaLiteral() string { return pq.QuoteLiteral(d.c.target.schema) }
