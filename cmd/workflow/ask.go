package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// What destroys something, or touches many runs, asks first.

func addYes(command *cobra.Command) *bool {
	return command.Flags().BoolP("yes", "y", false, "do it without asking; required where nobody can be asked")
}

// sure asks a question to which only yes goes on. Where nobody can answer, the flag has to have said so.
func (c *cli) sure(ctx context.Context, question string, yes bool) error { //nolint:revive // yes is the answer, not a mode
	if yes {
		return nil
	}
	if !c.asks {
		return wrongUsage("%s There is no terminal to ask on: add --yes", question)
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(c.in).ReadString('\n') // what is not read is no
		answers <- strings.ToLower(strings.TrimSpace(answer))
	}()
	select {
	case answer := <-answers:
		if answer == "y" || answer == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(c.err)
	}
	return errDeclined
}
