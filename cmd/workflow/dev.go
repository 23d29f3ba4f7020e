package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/server"
	"github.com/sqlworkflow/workflow/internal/server/embedded"
	"github.com/sqlworkflow/workflow/migrations"
)

// devPort is the one of a server of PostgreSQL's that stays the same from one day to the next.
const devPort = 54329

func (c *cli) dev() *cobra.Command {
	d := development{start: server.Start, fetch: embedded.Fetch}
	command := &cobra.Command{
		Use:   "dev [-- COMMAND [ARGUMENT]...]",
		Short: "A PostgreSQL, its tables and the dashboard, to develop with",
		Long: fmt.Sprintf(`Start a PostgreSQL, create the tables, and serve the dashboard, until Ctrl-C. It needs nothing but itself.

The server is the one at --database-url or $DATABASE_URL; else a container, where a Docker daemon answers; else one from
PostgreSQL's programs on this machine; else from programs that are downloaded once, some 17 MB. What was started is gone
afterwards, however this ends, and so is its data, unless --data keeps it.

With a command, that gets $DATABASE_URL, and $WORKFLOW_DASHBOARD with the dashboard's address, and all ends when it does; on a
terminal, the dashboard stays until Ctrl-C. The exit code is the command's.

The defaults are port %d for PostgreSQL and %s for the dashboard; with a command, free ones.`, devPort, uiAddress),
		Example: `  workflow dev
  workflow dev --data ~/.workflow-dev
  workflow dev -- go run ./cmd/shop`,
		Args: cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 0 && command.ArgsLenAtDash() != 0 {
				return wrongUsage("%q: a command comes after --", args[0])
			}
			d.defaults(args, command.Flags().Changed)
			return c.develop(command.Context(), &d, args)
		},
	}
	flags := command.Flags()
	flags.StringVar(&d.address, "addr", "", "the dashboard's `address`; port 0 is a free one")
	flags.IntVar(&d.port, "port", 0, "the `port` of a PostgreSQL that is started; 0 is a free one")
	flags.StringVar(&d.data, "data", "", "keep the data in this `directory`, which takes PostgreSQL's programs, and no container")
	flags.StringVar(&d.mirror, "mirror", embedded.Repository, "the Maven repository's `URL` to download the programs from")
	return command
}

// development is what to develop with, and the ways to it.
type development struct {
	dashboard
	port         int
	data, mirror string

	start func(context.Context, server.Options) (*server.Server, error)
	fetch func(ctx context.Context, cache, repository string, begin func()) (bin string, err error)
}

// defaults are the same each day for somebody, and free for a command, of which there may be several.
func (d *development) defaults(command []string, given func(flag string) bool) {
	free := len(command) > 0
	switch {
	case given("addr"):
	case free:
		d.address = "127.0.0.1:0"
	default:
		d.address = uiAddress
	}
	if !given("port") && !free {
		d.port = devPort
	}
}

// develop does it all, and takes it down again.
func (c *cli) develop(ctx context.Context, d *development, command []string) (err error) {
	signals := make(chan os.Signal, 4) // for the command
	signal.Notify(signals, server.Forwarded...)
	defer signal.Stop(signals)
	given := cmp.Or(c.target.url, c.getenv("DATABASE_URL"))
	s, err := c.postgres(ctx, d, given)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, note := range s.Notes {
		fmt.Fprintln(c.err, "workflow: not used:", note)
	}
	c.target.url = s.URL
	return c.onDatabase(func(db *sql.DB) error {
		if err := migrations.Up(ctx, db, c.target.schema); err != nil {
			return err
		}
		return c.onService(ctx, func(ctx context.Context, service *workflow.Service) error {
			return c.serve(ctx, service, d.dashboard, func(url string) error {
				if len(command) > 0 {
					return c.beside(ctx, s, command, signals, url)
				}
				c.greet(s, d, given, url)
				<-ctx.Done()
				return nil
			})
		})
	})
}

// postgres finds or starts a server, and downloads its programs if there is no other way.
func (c *cli) postgres(ctx context.Context, d *development, given string) (*server.Server, error) {
	o := server.Options{URL: given, Durable: true, Dir: d.data, Port: d.port}
	s, err := d.start(ctx, o)
	if !errors.Is(err, server.ErrNone) {
		return s, err
	}
	bin, fetched := d.fetch(ctx, "", d.mirror, func() {
		fmt.Fprintf(c.err, "workflow: there is no PostgreSQL here: downloading the programs of version %s, once\n", embedded.Version)
	})
	if fetched != nil {
		return nil, fmt.Errorf("there is no PostgreSQL here, and none could be downloaded (%w): name a server by --database-url, start a Docker daemon, "+
			"install PostgreSQL (Debian: apt-get install postgresql), or name a mirror by --mirror", fetched)
	}
	if err := os.Setenv(server.EnvBin, bin); err != nil {
		return nil, err
	}
	return d.start(ctx, o)
}

// greet tells what is there. The address of a server that was given may hold a secret, and is known.
func (c *cli) greet(s *server.Server, d *development, given, dashboard string) {
	fmt.Fprintf(c.out, "PostgreSQL  %s, %s\n", s.Version, s.Source)
	if given == "" {
		fmt.Fprintf(c.out, "database    export DATABASE_URL='%s'\n", s.URL)
	}
	fmt.Fprintf(c.out, "dashboard   %s\n", dashboard)
	if given == "" && d.data == "" {
		fmt.Fprintln(c.out, "\nThe data goes with the server; --data DIRECTORY keeps it. Ctrl-C ends it.")
		return
	}
	fmt.Fprintln(c.out, "\nCtrl-C ends it.")
}

// beside runs a command beside the server and the dashboard, and on a terminal leaves these to be looked at.
func (c *cli) beside(ctx context.Context, s *server.Server, command []string, signals <-chan os.Signal, dashboard string) error {
	env := append(os.Environ(), "DATABASE_URL="+s.URL, "WORKFLOW_DASHBOARD="+dashboard)
	code, err := s.Run(command, env, signals)
	switch {
	case err != nil:
		return fmt.Errorf("run %q: %w", command[0], err)
	case code != 0:
		return exitError(code)
	case c.asks && c.width() > 0 && ctx.Err() == nil:
		fmt.Fprintf(c.out, "\nThe dashboard is at %s until Ctrl-C.\n", dashboard)
		<-ctx.Done()
	}
	return nil
}

// exitError is the exit code of a command that was run, and that has said itself what is wrong.
type exitError int

func isExit(err error) bool {
	var exit exitError
	return errors.As(err, &exit)
}

func (e exitError) Error() string {
	return fmt.Sprintf("the command has ended with exit code %d", int(e))
}
