package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/sqlworkflow/workflow/migrations"
)

// target is the flags of a command that works on one schema of one database.
type target struct {
	*flag.FlagSet
	usage  string
	url    *string
	schema *string
}

func newTarget(name, usage string) *target {
	t := &target{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), usage: usage}
	t.SetOutput(io.Discard)
	// The default is looked up later: here it would be part of the help text, password and all.
	t.url = t.String("database-url", "", "the database's `URL` (default $DATABASE_URL)")
	t.schema = t.String("schema", migrations.DefaultSchema, "the `name` of the schema that holds the tables")
	return t
}

// parse reads the flags. The error is the user's, or flag.ErrHelp.
func (t *target) parse(args []string) error {
	if err := t.Parse(args); err != nil {
		return err
	}
	if t.NArg() > 0 {
		return fmt.Errorf("%q is one word too many", t.Arg(0))
	}
	if err := migrations.ValidateSchema(*t.schema); err != nil {
		return errors.New("--schema: " + strings.TrimPrefix(err.Error(), "migrations: "))
	}
	return nil
}

// help returns the usage and the flags, which are shown with two dashes and taken with one as well.
func (t *target) help() string {
	var b strings.Builder
	b.WriteString(t.usage + "\nFlags:\n")
	t.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && !strings.Contains(usage, "(default") {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "  --%-20s %s\n", f.Name+" "+kind, usage)
	})
	return b.String()
}
