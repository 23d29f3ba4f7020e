package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/mattn/go-runewidth"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Where nobody watches there is one frame, which tells what there is.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	database := fixture(t)
	url := database.URL()
	frame := printed(t, url, "top")
	for _, want := range []string{
		"schema workflows, ", "1 pending, 1 running, 3 suspended (1 time, 1 blocked, 1 by_hand), 1 completed, 2 failed, 2 cancelled (counted ",
		"0 workers alive, executing 0 runs; lag ", "\nNewest failures:\n", "busy: the bank is busy",
		"\nUnfinished, those first that have stood still for longest:\n", "suspended by hand",
	} {
		if !strings.Contains(frame, want) && want != "\nNewest failures:\n" && want != "busy: the bank is busy" {
			t.Errorf("no %q in\n%s", want, frame)
		}
	}
	now := console{url: url, width: 80, now: true}.printed(t, "top")
	if !strings.Contains(now, "\nNewest failures:\n") || !strings.Contains(now, "busy: the bank is busy") {
		t.Errorf("no failures:\n%s", now)
	}
	if only := (console{url: url, now: true}).printed(t, "top", "--workflow", "deploy"); strings.Contains(only, "by hand ") || !strings.Contains(only, "order 16") {
		t.Errorf("of one workflow:\n%s", only)
	}
	var encoded struct {
		At      time.Time
		Runs    map[string]int
		Workers []any
		Queues  []any
		Still   []struct{ ID string }
		Failed  []struct{ ID string }
		Lag     *float64 `json:"lag_seconds"`
	}
	kit.Must(t, json.Unmarshal([]byte(console{url: url, now: true}.printed(t, "top", "--json")), &encoded))
	if len(encoded.Still) != 5 || len(encoded.Failed) != 2 || encoded.Runs["failed"] != 2 || encoded.Workers == nil || encoded.Queues == nil ||
		encoded.Lag == nil || encoded.At.IsZero() {
		t.Errorf("in JSON: %+v", encoded)
	}
	typed{"top --interval 1ms", "", exitUsage, "", "at least 100ms"}.check(t, url)
	typed{"top --suspended-for fun", "", exitUsage, "", "use time"}.check(t, url)
}

// A frame keeps to the terminal's size, down to the smallest.
func TestTopFits(t *testing.T) {
	t.Parallel()
	f := frame{at: time.Now(), statsAt: time.Now(), stats: workflow.Stats{Runs: map[workflow.RunStatus]int64{}}}
	for range 50 {
		f.workers = append(f.workers, workflow.Worker{Alive: true, Executing: 3})
		f.queues = append(f.queues, workflow.QueueState{Queue: workflow.Queue{Name: strings.Repeat("画像", 30), MaxPerWorker: 3}, Waiting: 5})
		f.inFlight = append(f.inFlight, workflow.StepInFlight{RunID: strings.Repeat("r", 200), Step: strings.Repeat("s", 200), Host: "h", PID: 1})
		run := workflow.Run{ID: strings.Repeat("i", 69), Workflow: strings.Repeat("w", 100), Status: workflow.RunSuspended, UpdatedAt: time.Now()}
		f.still, f.failed = append(f.still, run), append(f.failed, run)
	}
	w := &watch{c: &cli{clock: time.Now, target: target{schema: "workflows"}}, interval: time.Second}
	for _, size := range [][2]int{{80, 24}, {200, 60}, {40, 12}, {20, 5}, {1, 1}, {500, 200}} {
		lines := w.lines(f, size[0], size[1])
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if runewidth.StringWidth(line) > size[0] {
				t.Errorf("%v: %q", size, line)
			}
		}
		if size[1] >= 24 && len(lines) < size[1]-4 {
			t.Errorf("%v: only %d lines", size, len(lines))
		}
	}
}

// A screen is what a terminal has been sent.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// On a terminal it draws again and again, sees its size change, and leaves it as it was at q, at Ctrl-C and when it is told to end.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	database, service := pendings(t, "w", "a", "b")
	for _, test := range []struct {
		name string
		end  func(keyboard *os.File, cancel func())
	}{
		{"q", func(k *os.File, _ func()) { _, _ = k.WriteString("xq") }},
		{"Ctrl-C", func(k *os.File, _ func()) { _, _ = k.WriteString("\x03") }},
		{"told to", func(_ *os.File, cancel func()) { cancel() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			here, there, err := pty.Open()
			kit.Must(t, err)
			kit.Must(t, pty.Setsize(here, &pty.Winsize{Cols: 80, Rows: 24}))
			c := onTerminal(there, there, there, func(name string) string {
				return map[string]string{"DATABASE_URL": database, "TERM": "xterm"}[name]
			})
			shown := &screen{}
			read := kit.Go(t, func() (ended bool) {
				part := make([]byte, 4096)
				for {
					n, err := here.Read(part)
					shown.mu.Lock()
					shown.text.Write(part[:n])
					shown.mu.Unlock()
					if err != nil {
						return true
					}
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			code := kit.Go(t, func() int { return c.run(ctx, []string{"top", "--interval", "100ms"}) })
			kit.Until(t, "two frames are drawn", func() bool { return strings.Count(shown.String(), home) >= 2 })
			kit.Must(t, pty.Setsize(here, &pty.Winsize{Cols: 30, Rows: 6}))
			kit.Until(t, "a narrow frame is drawn", func() bool {
				frames := strings.Split(shown.String(), home)
				last := frames[len(frames)-2]
				return strings.Contains(last, "schema workflows, "+time.Now().UTC().Format("2006")) && strings.Contains(last, "…") && strings.Count(last, newRow) < 6
			})
			test.end(here, cancel)
			if got := kit.Receive(t, "it ends", code); got != exitOK {
				t.Errorf("exit code %d", got)
			}
			kit.Until(t, "the terminal is as it was", func() bool { return strings.HasSuffix(shown.String(), leave) })
			if text := shown.String(); !strings.HasPrefix(text, enter) || !strings.Contains(text, "\x1b[") || strings.Contains(text, "hunter2") {
				t.Errorf("shown: %q", text)
			}
			_, _ = here.WriteString("q\n") // for who still reads the keyboard, which is raw or, a moment later, gives whole lines
			kit.Must(t, there.Close())
			kit.Must(t, here.Close())
			_ = kit.Receive(t, "the screen is read", read)
		})
	}
	_ = service
}

// A question on a terminal is answered there.
func TestQuestionOnATerminal(t *testing.T) {
	t.Parallel()
	database, service := pendings(t, "w", "a")
	here, there, err := pty.Open()
	kit.Must(t, err)
	defer here.Close()
	defer there.Close()
	c := onTerminal(there, there, there, func(name string) string { return map[string]string{"DATABASE_URL": database}[name] })
	if !c.asks || !c.colour {
		t.Fatalf("a terminal is not seen as one: %+v", c)
	}
	_, err = here.WriteString("y\n")
	kit.Must(t, err)
	if code := c.run(t.Context(), []string{"cancel", "a"}); code != exitOK || with(t, service, workflow.RunCancelled) != "a" {
		t.Errorf("exit code %d", code)
	}
	for _, env := range []map[string]string{{"NO_COLOR": "1"}, {"TERM": "dumb"}} {
		if onTerminal(there, there, there, func(name string) string { return env[name] }).colour {
			t.Errorf("colours in spite of %v", env)
		}
	}
}
