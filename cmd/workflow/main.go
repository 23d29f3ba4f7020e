// Command workflow is for whoever operates runs of sqlworkflow from a shell: what is stuck, since when, why, and what can be done about
// it. It also creates and updates the tables. Each command explains itself with --help.
//
// See the help of the command itself for its exit codes, which scripts may rest on.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := onTerminal(os.Stdin, os.Stdout, os.Stderr, os.Getenv).run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
