package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/term"
)

// cli is what all commands share: the world outside, as far as they see of it.
type cli struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string

	size   func() (width, height int) // of the terminal that out is; 0, 0: it is none
	asks   bool                       // somebody is there to answer a question
	colour bool
	clock  func() time.Time // in place of the database's, for tests
	target target
}

// onTerminal finds out what a process is connected with.
func onTerminal(in, out, errors *os.File, getenv func(string) string) *cli {
	c := &cli{in: in, out: out, err: errors, getenv: getenv}
	outside := term.IsTerminal(int(out.Fd()))
	c.size = func() (int, int) {
		if !outside {
			return 0, 0
		}
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
	c.asks = term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(errors.Fd()))
	c.colour = outside && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	return c
}

// run does what a command line says and returns the exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	code := codeOf(err)
	switch {
	case err == nil:
	case errors.Is(err, errUnhealthy), isExit(err): // which has been printed
	case code == exitUsage:
		fmt.Fprintf(c.err, "workflow: %s\nSee %s --help.\n", message(err), command.CommandPath())
	default:
		fmt.Fprintf(c.err, "workflow: %s\n", message(err))
	}
	return code
}

func (c *cli) width() int {
	width, _ := c.size()
	return width
}

var secrets = regexp.MustCompile(`://[^\s"'/]*@|://[^\s"']*@|(?i:password\s*=\s*('[^']*'|\S+))`)

// message is an error without what is secret in it: a word of the command line that it quotes may be an address.
func message(err error) string {
	text := strings.TrimPrefix(err.Error(), "workflow: ")
	return secrets.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "://") {
			return "://…@"
		}
		return "password=…"
	})
}
