package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// releaseTimeout bounds a supervisor's own clearing up, whatever it waits for.
const releaseTimeout = 40 * time.Second

// A release undoes a start. It is called once.
type release func(context.Context) error

// init turns the re-executed program into a supervisor, before its main or its tests begin.
func init() {
	if text, ok := os.LookupEnv(jobVariable); ok {
		os.Exit(supervise(text))
	}
}

// supervise starts what the job asks for, reports, and takes it down once the parent is gone.
func supervise(text string) int {
	// Else the answer to a parent that is gone would end this process by SIGPIPE.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()

	var group atomic.Int64
	go func() {
		watch(os.Stdin, &group)
		cancel()
	}()

	r, undo, err := perform(ctx, text)
	if err != nil {
		r = report{Error: err.Error()}
		var none absent
		if r.None = errors.As(err, &none); r.None {
			r.Notes = none
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
	if err != nil {
		return 0
	}

	<-ctx.Done()
	if id := int(group.Load()); id != 0 {
		killGroup(id)
	}
	time.AfterFunc(releaseTimeout, func() { os.Exit(1) })
	undoCtx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if undo(undoCtx) != nil {
		return 1
	}
	return 0
}

// watch follows the parent's line until it closes. Each line that comes is the process group to end
// should the parent die, 0 for none.
func watch(line io.Reader, group *atomic.Int64) {
	for lines := bufio.NewScanner(line); lines.Scan(); {
		id, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 32)
		if err == nil {
			group.Store(id)
		}
	}
}

func perform(ctx context.Context, text string) (report, release, error) {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return report{}, nil, err
	}
	if j.Upstream != "" {
		return startPooler(ctx, j.Upstream, j.PoolMode)
	}
	return startPostgres(ctx, j.Options)
}
