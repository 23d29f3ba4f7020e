package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// root has all commands. A new one is a function that returns it, in a file of its own, and a line here.
func (c *cli) root() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "workflow",
		Short: "What is stuck, since when, why, and what can be done about it",
		Long: `Look into the runs of sqlworkflow, move them, and look after their tables.

At three in the morning: workflow doctor, workflow why, workflow top.

What prints something takes --json, with times in RFC 3339; tables say how long ago. The database is that of --database-url or
$DATABASE_URL; its address is never printed.

` + exitHelp,
		Example: `  workflow why                          # the runs that have stood still for longest, and why
  workflow why RUN                      # one of them, and what to do about it
  workflow show RUN                     # its steps as a tree
  workflow runs --status failed --newer 1h
  workflow doctor`,
	})
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.target.add(root)
	c.wrapHelp(root)
	root.AddGroup(
		&cobra.Group{ID: groupLook, Title: "Look:"}, &cobra.Group{ID: groupMove, Title: "Move runs:"},
		&cobra.Group{ID: groupKeep, Title: "Look after queues, schedules and tables:"},
		&cobra.Group{ID: groupServe, Title: "Serve:"})
	add(root, groupLook, c.runs(), c.show(), c.why(), c.top(), c.doctor())
	add(root, groupMove, c.cancel(), c.resume(), c.signal(), c.decide())
	add(root, groupKeep, c.queues(), c.schedules(), c.prune(), c.migrate())
	add(root, groupServe, c.ui(), c.dev())
	root.SetHelpCommandGroupID(groupKeep)
	root.SetCompletionCommandGroupID(groupKeep)
	return root
}

const widestHelp = 100

// wrapHelp has help broken to the terminal's width.
func (c *cli) wrapHelp(root *cobra.Command) {
	width := 80
	if c.size != nil && c.width() > 0 {
		width = min(c.width(), widestHelp)
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped "+strconv.Itoa(width)))
	help := root.HelpFunc()
	root.SetHelpFunc(func(command *cobra.Command, args []string) {
		command.Long = reflowed(command.Long, width)
		help(command, args)
	})
}

const (
	groupLook  = "look"
	groupMove  = "move"
	groupKeep  = "keep"
	groupServe = "serve"
)

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, command := range commands {
		command.GroupID = group
	}
	root.AddCommand(commands...)
}

// group makes a command of one that has only others: to call it by itself, or with a word that is none of these, is wrong usage.
func group(command *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	command.AddCommand(commands...)
	command.SuggestionsMinimumDistance = 2
	command.Args = cobra.ArbitraryArgs
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return wrongUsage("a command is missing")
		}
		near := command.SuggestionsFor(args[0])
		if len(near) == 0 {
			return wrongUsage("unknown command %q", args[0])
		}
		return wrongUsage("unknown command %q: did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return command
}

// words checks how many words a command takes besides its flags; what says which.
func words(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least && least == 1:
			return wrongUsage("%s is missing", what)
		case len(args) < least:
			return wrongUsage("%d words are too few: want %s", len(args), what)
		case most >= 0 && len(args) > most:
			return wrongUsage("%q is one word too many", args[most])
		}
		return nil
	}
}

var noWords = words(0, 0, "")
