package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"text/tabwriter"
	"time"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/migrations"
)

var migrate = group{
	usage: `Usage: workflow migrate <command> [flags]

Create, update and remove the tables of sqlworkflow, in a schema of their own.

Commands:
  up        apply all migrations that are missing
  down      roll back the latest migration, or down to a version
  adopt     take over documented tables that were made in another way
  status    list the migrations and when they were applied

"workflow migrate <command> -h" tells more.
`,
	commands: map[string]func(*cli, context.Context, []string) int{
		"up":     (*cli).up,
		"down":   (*cli).down,
		"adopt":  (*cli).adopt,
		"status": (*cli).status,
	},
}

const upUsage = `Usage: workflow migrate up [flags]

Apply all migrations that are missing, after creating the schema if there is none. Many may run at
once, one does the work. Nothing to apply is success, and takes no right to create anything.
`

func (c *cli) up(ctx context.Context, args []string) int {
	return c.onDatabase(ctx, newTarget("up", upUsage), args, migrations.Up)
}

const downUsage = `Usage: workflow migrate down [flags]

Roll back the latest migration, or with --to all that are newer than a version. What a migration
created is dropped with its rows: version 0 is the end of all runs. The schema itself stays.
`

func (c *cli) down(ctx context.Context, args []string) int {
	t := newTarget("down", downUsage)
	const latest = math.MinInt64
	to := t.Int64("to", latest, "roll back to version `N`; 0 rolls back everything (default: the one before the latest)")
	return c.onDatabase(ctx, t, args, func(ctx context.Context, db *sql.DB, schema string, o ...migrations.Option) error {
		version := *to
		if version == latest {
			applied, err := migrations.Status(ctx, db, schema)
			if err != nil {
				return err
			}
			version = beforeLatest(applied)
		}
		return migrations.Down(ctx, db, schema, version, o...)
	})
}

// beforeLatest returns the version that is the newest once the newest applied migration is gone.
func beforeLatest(all []migrations.Migration) (before int64) {
	var latest int64
	for _, m := range all {
		if m.Applied {
			before, latest = latest, m.Version
		}
	}
	return before
}

const adoptUsage = `Usage: workflow migrate adopt [flags]

Take over tables workflow_runs and workflow_steps that were made without these migrations, then apply
those that are missing. The tables must have exactly the documented columns, types and primary keys;
what differs is named, and nothing is changed. The rows stay; pending runs become claimable.
`

func (c *cli) adopt(ctx context.Context, args []string) int {
	return c.onDatabase(ctx, newTarget("adopt", adoptUsage), args, migrations.Adopt)
}

const statusUsage = `Usage: workflow migrate status [flags]

List the migrations of this release and when they were applied. It only reads: on an empty database
all are pending.
`

func (c *cli) status(ctx context.Context, args []string) int {
	nothing := func(context.Context, *sql.DB, string, ...migrations.Option) error { return nil }
	return c.onDatabase(ctx, newTarget("status", statusUsage), args, nothing)
}

// onDatabase does the work on the database that the flags name, then prints where its schema stands.
func (c *cli) onDatabase(ctx context.Context, t *target, args []string,
	work func(context.Context, *sql.DB, string, ...migrations.Option) error,
) int {
	db, code := c.open(t, args)
	if db == nil {
		return code
	}
	defer db.Close()
	logger := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err := work(ctx, db, *t.schema, migrations.WithLogger(logger))
	if err == nil {
		err = printStatus(ctx, c.stdout, db, *t.schema)
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "workflow: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// open returns the pool, or nil and the exit code. What is wrong with an address is not told in
// detail, since the driver quotes it and there may be a password in it.
func (c *cli) open(t *target, args []string) (*sql.DB, int) {
	err := t.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.stdout, t.help())
		return nil, exitOK
	}
	if err != nil {
		return nil, c.wrongUsage(err.Error(), t.help())
	}
	url := cmp.Or(*t.url, c.getenv("DATABASE_URL"))
	if url == "" {
		return nil, c.wrongUsage("no database: set --database-url or DATABASE_URL", t.help())
	}
	connector, err := pq.NewConnector(url)
	if err != nil {
		return nil, c.wrongUsage("the database URL cannot be read: "+
			"want postgres://user:password@host:port/database?sslmode=…, special characters percent-encoded", t.help())
	}
	return sql.OpenDB(connector), exitOK
}

func printStatus(ctx context.Context, w io.Writer, db *sql.DB, schema string) error {
	all, err := migrations.Status(ctx, db, schema)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "VERSION\tMIGRATION\tAPPLIED\n")
	for _, m := range all {
		name, applied := m.Name, "pending"
		if name == "" {
			name = "(of a newer release)"
		}
		if m.Applied {
			applied = m.AppliedAt.UTC().Format(time.DateTime) + " UTC"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", m.Version, name, applied)
	}
	return table.Flush()
}
