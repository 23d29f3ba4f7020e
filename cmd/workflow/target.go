package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/migrations"
)

// target is the schema of a database that a command works on.
type target struct{ url, schema string }

func (t *target) add(root *cobra.Command) {
	// The default is looked up later: here it would be part of the help text, password and all.
	root.PersistentFlags().StringVar(&t.url, "database-url", "", "the database's `URL` (default $DATABASE_URL)")
	root.PersistentFlags().StringVar(&t.schema, "schema", migrations.DefaultSchema, "the `name` of the schema that holds the tables")
}

// connector returns the way to the database. What is wrong with an address is not told in detail, since the driver quotes it and there
// may be a password in it.
func (c *cli) connector() (*pq.Connector, error) {
	if err := migrations.ValidateSchema(c.target.schema); err != nil {
		return nil, wrongUsage("--schema: %s", strings.TrimPrefix(err.Error(), "migrations: "))
	}
	url := cmp.Or(c.target.url, c.getenv("DATABASE_URL"))
	if url == "" {
		return nil, wrongUsage("no database: set --database-url or DATABASE_URL")
	}
	connector, err := pq.NewConnector(url)
	if err != nil {
		return nil, wrongUsage("the database URL cannot be read: " +
			"want postgres://user:password@host:port/database?sslmode=…, special characters percent-encoded")
	}
	return connector, nil
}

// onDatabase does work on the database.
func (c *cli) onDatabase(work func(*sql.DB) error) error {
	connector, err := c.connector()
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	return work(db)
}

// onService does work with the front door to the schema.
func (c *cli) onService(ctx context.Context, work func(context.Context, *workflow.Service) error) error {
	return c.onDatabase(func(db *sql.DB) error {
		service, err := workflow.New(workflow.Config{DB: db, Schema: c.target.schema})
		if err != nil {
			return err
		}
		defer service.Close()
		if c.clock == nil {
			if c.clock, err = clockOf(ctx, db); err != nil {
				return err
			}
			defer func() { c.clock = nil }()
		}
		return work(ctx, service)
	})
}

// clockOf returns the database's clock, asked once: ages and bounds are told by it, as all times in the tables are.
func clockOf(ctx context.Context, db *sql.DB) (func() time.Time, error) {
	var now time.Time
	if err := db.QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return nil, fmt.Errorf("ask the database: %w", err)
	}
	asked := time.Now()
	return func() time.Time { return now.Add(time.Since(asked)) }, nil
}

// command is a command line to paste, on the same schema.
func (c *cli) command(words ...string) string {
	if c.target.schema != migrations.DefaultSchema {
		words = append(words, "--schema", c.target.schema)
	}
	for i, word := range words {
		words[i] = quoted(word)
	}
	return "workflow " + strings.Join(words, " ")
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
