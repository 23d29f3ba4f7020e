// Command workflow looks after the tables of sqlworkflow from a shell, and looks into them: workflow migrate up, down, adopt and
// status, workflow runs, and workflow show RUN. Each command explains itself with -h.
//
// The exit code is 0 when all went well, 1 when the operation failed, 2 when the command line is wrong.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

// run is main without the process: it reads nothing but its arguments and getenv.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, getenv func(string) string) int {
	c := &cli{stdout: stdout, stderr: stderr, getenv: getenv}
	return c.dispatch(ctx, root, args)
}

// cli is what all commands share.
type cli struct {
	stdout, stderr io.Writer
	getenv         func(string) string
}

// group is a word of the command line that is followed by one of several others.
type group struct {
	usage    string
	commands map[string]func(c *cli, ctx context.Context, args []string) int
}

var root = group{
	usage: `Usage: workflow <command>

Look after the tables of sqlworkflow, and into them.

Commands:
  migrate    create, update and remove the tables
  runs       list runs, newest first
  show       show a run and its steps

"workflow <command> -h" tells more.
`,
	commands: map[string]func(*cli, context.Context, []string) int{
		"migrate": func(c *cli, ctx context.Context, args []string) int { return c.dispatch(ctx, migrate, args) },
		"runs":    (*cli).runs,
		"show":    (*cli).show,
	},
}

func (c *cli) dispatch(ctx context.Context, g group, args []string) int {
	if len(args) == 0 {
		return c.wrongUsage("a command is missing", g.usage)
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(c.stdout, g.usage)
		return exitOK
	}
	command, ok := g.commands[args[0]]
	if !ok {
		return c.wrongUsage(fmt.Sprintf("unknown command %q", args[0]), g.usage)
	}
	return command(c, ctx, args[1:])
}

func (c *cli) wrongUsage(problem, usage string) int {
	fmt.Fprintf(c.stderr, "workflow: %s\n\n%s", problem, usage)
	return exitUsage
}
