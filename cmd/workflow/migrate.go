package main

import (
	"context"
	"database/sql"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow/migrations"
)

func (c *cli) migrate() *cobra.Command {
	return group(&cobra.Command{
		Use:   "migrate",
		Short: "Create, update and remove the tables",
		Long:  "Create, update and remove the tables of sqlworkflow, in a schema of their own.",
		Example: `  workflow migrate up
  workflow migrate status --schema jobs`,
	}, c.migrateUp(), c.migrateDown(), c.migrateAdopt(), c.migrateStatus())
}

func (c *cli) migrateUp() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Apply all migrations that are missing",
		Long: `Apply all migrations that are missing, after creating the schema if there is none. Many may run at
once, one does the work. Nothing to apply is success, and takes no right to create anything.`,
		Example: "  workflow migrate up",
		Args:    noWords,
		RunE:    c.migrating(migrations.Up),
	}
}

func (c *cli) migrateDown() *cobra.Command {
	command := &cobra.Command{
		Use:   "down",
		Short: "Roll back the latest migration, or down to a version",
		Long: `Roll back the latest migration, or with --to all that are newer than a version. What a migration
created is dropped with its rows: version 0 is the end of all runs. The schema itself stays.`,
		Example: `  workflow migrate down
  workflow migrate down --to 0 --yes    # drops all runs`,
		Args: noWords,
	}
	to := command.Flags().Int64("to", 0, "roll back to version `N`; 0 rolls back everything (default: the one before the latest)")
	yes := addYes(command)
	command.RunE = c.migrating(func(ctx context.Context, db *sql.DB, schema string, o ...migrations.Option) error {
		applied, err := migrations.Status(ctx, db, schema)
		if err != nil {
			return err
		}
		version, latest := beforeLatest(applied)
		if command.Flags().Changed("to") {
			version = *to
		}
		if version < latest {
			question := "Roll back schema " + schema + " from version " + strconv.FormatInt(latest, 10) + " to " + strconv.FormatInt(version, 10) +
				", and drop what lies between with its rows?"
			if err := c.sure(ctx, question, *yes); err != nil {
				return err
			}
		}
		return migrations.Down(ctx, db, schema, version, o...)
	})
	return command
}

// beforeLatest returns the latest version, and the one that is the newest once that is gone.
func beforeLatest(all []migrations.Migration) (before, latest int64) {
	for _, m := range all {
		if m.Applied {
			before, latest = latest, m.Version
		}
	}
	return before, latest
}

func (c *cli) migrateAdopt() *cobra.Command {
	return &cobra.Command{
		Use:   "adopt",
		Short: "Take over documented tables that were made in another way",
		Long: `Take over tables workflow_runs and workflow_steps that were made without these migrations, then apply
those that are missing. The tables must have exactly the documented columns, types and primary keys;
what differs is named, and nothing is changed. The rows stay; pending runs become claimable.`,
		Example: "  workflow migrate adopt",
		Args:    noWords,
		RunE:    c.migrating(migrations.Adopt),
	}
}

func (c *cli) migrateStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the migrations and when they were applied",
		Long: `List the migrations of this release and when they were applied. It only reads: on an empty database
all are pending.`,
		Example: "  workflow migrate status",
		Args:    noWords,
		RunE:    c.migrating(func(context.Context, *sql.DB, string, ...migrations.Option) error { return nil }),
	}
}

// migrating does the work, then prints where the schema stands.
func (c *cli) migrating(work func(context.Context, *sql.DB, string, ...migrations.Option) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, _ []string) error {
		return c.onDatabase(func(db *sql.DB) error {
			logger := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
			if err := work(command.Context(), db, c.target.schema, migrations.WithLogger(logger)); err != nil {
				return err
			}
			return c.printStatus(command.Context(), db)
		})
	}
}

func (c *cli) printStatus(ctx context.Context, db *sql.DB) error {
	all, err := migrations.Status(ctx, db, c.target.schema)
	if err != nil {
		return err
	}
	t := table{columns: []column{{head: "VERSION"}, {head: "MIGRATION", cut: middle}, {head: "APPLIED"}}}
	for _, m := range all {
		name, applied := m.Name, "pending"
		if name == "" {
			name = "(of a newer release)"
		}
		if m.Applied {
			applied = m.AppliedAt.UTC().Format(time.DateTime) + " UTC"
		}
		t.add(strconv.FormatInt(m.Version, 10), name, applied)
	}
	return c.print(t)
}
