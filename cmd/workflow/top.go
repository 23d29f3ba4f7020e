package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sqlworkflow/workflow"
)

func (c *cli) top() *cobra.Command {
	command := &cobra.Command{
		Use:   "top",
		Short: "Watch what hangs, what stands still, what fails",
		Long: `Watch what happens, anew every two seconds until q or Ctrl-C: how many runs there are, who works, queues, the steps that have
been in flight for long, the unfinished runs that have stood still for longest, and the newest failures, both among the 10,000 newest
runs. What does not go to a terminal is one frame.

Runs are counted in one pass over all of them, so that is done anew less often: it takes at most a hundredth of the time.`,
		Example: `  workflow top
  workflow top --workflow order --interval 5s
  workflow top --json | jq .workers`,
		Args: noWords,
	}
	var flags filterFlags
	flags.add(command)
	interval := command.Flags().Duration("interval", 2*time.Second, "look anew after this time")
	asJSON := command.Flags().Bool("json", false, "print one frame, as a JSON object")
	command.RunE = func(command *cobra.Command, _ []string) error {
		if *interval < 100*time.Millisecond {
			return wrongUsage("--interval must be at least 100ms")
		}
		return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
			w := &watch{c: c, service: service, flags: &flags, interval: *interval}
			first, err := w.look(ctx)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.out, encodeFrame(first))
			}
			keyboard, ok := c.in.(*os.File)
			if width, height := c.size(); width == 0 || height == 0 || !ok || !term.IsTerminal(int(keyboard.Fd())) {
				return w.once(first)
			}
			return w.live(ctx, keyboard, first)
		})
	}
	return command
}

// Keys that end it. A terminal in raw mode sends Ctrl-C as a byte, and no signal.
const (
	ctrlC = 3
	ctrlD = 4
)

const (
	enter  = "\x1b[?1049h\x1b[?25l" // another screen, no cursor
	leave  = "\x1b[?25h\x1b[?1049l"
	home   = "\x1b[H"
	newRow = "\x1b[K\r\n"
	below  = "\x1b[K\x1b[J"
)

// live draws frames until a key or the end of ctx, and leaves the terminal as it was.
func (w *watch) live(ctx context.Context, keyboard *os.File, now frame) error {
	before, err := term.MakeRaw(int(keyboard.Fd()))
	if err != nil {
		return err
	}
	defer func() {
		_, _ = w.c.out.Write([]byte(leave))
		_ = term.Restore(int(keyboard.Fd()), before)
	}()
	ended := make(chan struct{})
	go func() { // ends with the terminal, or the process
		defer close(ended)
		key := make([]byte, 1)
		for {
			n, err := keyboard.Read(key)
			if err != nil || n == 1 && (key[0] == 'q' || key[0] == 'Q' || key[0] == ctrlC || key[0] == ctrlD) {
				return
			}
		}
	}()
	if _, err := w.c.out.Write([]byte(enter)); err != nil {
		return err
	}
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		if err := w.draw(now); err != nil {
			return err
		}
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if now, err = w.look(ctx); err != nil && ctx.Err() == nil {
			now = w.trouble(err) // the database may come back
		}
	}
}

// draw writes a frame over the one before, within the terminal's size of now.
func (w *watch) draw(f frame) error {
	width, height := w.c.size()
	lines := w.lines(f, width, height)
	text := home
	for i, line := range lines {
		if i > 0 {
			text += newRow
		}
		text += line
	}
	_, err := w.c.out.Write([]byte(text + below))
	return err
}
