package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	readyTimeout = time.Minute
	readyPoll    = 40 * time.Millisecond
)

// A daemon is a server process: a direct child of the supervisor, for one behind a launcher cannot be
// waited for. It runs in dir, as an unprivileged user when we are root, and logs into a file there.
type daemon struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

func startDaemon(dir, program string, args ...string) (*daemon, error) {
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := command(context.Background(), dir, program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(d.ended)
	}()
	return d, nil
}

// command runs a program of PostgreSQL in dir, away from this process's own PG… variables.
func command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH"), "HOME=" + dir, "LC_ALL=C"}
	unprivileged(cmd)
	return cmd
}

// ready polls until probe succeeds. A daemon that ends meanwhile is an error with the end of its log.
func (d *daemon) ready(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("%s ended: %s", filepath.Base(d.cmd.Path), d.tail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer: %w; its log: %s", filepath.Base(d.cmd.Path), ctx.Err(), d.tail()), err)
		case <-time.After(readyPoll):
		}
	}
}

// startReady is startDaemon and ready in one: it leaves no daemon that does not answer.
func startReady(ctx context.Context, probe func(context.Context) error, dir, program string, args ...string) (*daemon, error) {
	d, err := startDaemon(dir, program, args...)
	if err != nil {
		return nil, err
	}
	if err := d.ready(ctx, probe); err != nil {
		d.stop(context.WithoutCancel(ctx), os.Kill)
		return nil, err
	}
	return d, nil
}

// stop asks by signal, and insists after a while.
func (d *daemon) stop(ctx context.Context, s os.Signal) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if d.cmd.Process.Signal(s) != nil {
		_ = d.cmd.Process.Kill()
	}
	select {
	case <-d.ended:
	case <-ctx.Done():
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
}

func (d *daemon) tail() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	const most = 2000
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

// onPort starts on the port that is asked for, or on a free one.
func onPort(ctx context.Context, port int, start func(port int) error) error {
	if port == 0 {
		return onFreePort(ctx, start)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("port %d cannot be had: %w", port, err)
	}
	l.Close()
	return start(port)
}

// onFreePort tries start on ports nobody listens on. Another process may take the port in between, so a
// failure is tried again with another one. The ports lie below those that the kernel gives to connections.
func onFreePort(ctx context.Context, start func(port int) error) error {
	var err error
	for range 4 {
		if err = start(freePort(ctx)); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func freePort(ctx context.Context) int {
	for {
		port := 15_000 + rand.IntN(17_000)
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
		if ctx.Err() != nil {
			return port
		}
	}
}
