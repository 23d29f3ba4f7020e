package fleet_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A job is what a worker process does.
type job struct {
	Does        string // by name, in jobs
	Driver, URL string
	Skew        time.Duration // of its wall clock
	Lease       time.Duration // or the usual one
	Log         bool
}

var jobs = map[string]func(*sql.DB, *workflow.Service){
	"journey": func(db *sql.DB, svc *workflow.Service) { svc.Register(journey(db)) },
	"zombie":  func(db *sql.DB, svc *workflow.Service) { svc.Register(holding(db, heldByParent{})) },
	"doom":    func(_ *sql.DB, svc *workflow.Service) { svc.Register(doom(killed)) },
}

// child is main in such a process: it works until it is told to stop, or killed.
func child(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	if j.Skew != 0 {
		if err := skewClock(j.Skew); err != nil {
			return err
		}
	}
	fmt.Println("clock", time.Now().Unix())
	db, err := sql.Open(j.Driver, j.URL)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(12)
	db.SetMaxIdleConns(12)
	config := fast(db)
	if j.Lease != 0 {
		config.Lease = j.Lease
	}
	if j.Log {
		config.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	}
	svc, err := workflow.New(config)
	if err != nil {
		return err
	}
	jobs[j.Does](db, svc)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return svc.Work(ctx)
}

// A process is a worker of its own.
type process struct {
	f     *fleet
	cmd   *exec.Cmd
	in    io.Writer
	out   io.ReadCloser
	lines *bufio.Scanner
	clock int64 // its wall clock when it began, in Unix seconds
	ended bool
}

func (f *fleet) spawn(j job) *process {
	f.t.Helper()
	if j.Driver == "" {
		j.Driver, j.URL = pgtest.PGX.Driver, f.pg.URL()
	}
	j.Log = os.Getenv("FLEET_LOG") != ""
	text, err := json.Marshal(j)
	must(f.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(f.t, err)
	out, err := cmd.StdoutPipe()
	must(f.t, err)
	must(f.t, cmd.Start())
	p := &process{f: f, cmd: cmd, in: in, out: out, lines: bufio.NewScanner(out)}
	f.t.Cleanup(p.kill)
	_, err = fmt.Sscan(strings.TrimPrefix(p.line(), "clock "), &p.clock)
	must(f.t, err)
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// line waits for the next line that the process says.
func (p *process) line() string {
	p.f.t.Helper()
	if !p.lines.Scan() {
		p.f.t.Fatalf("process %d has ended: %v", p.cmd.Process.Pid, p.lines.Err())
	}
	return p.lines.Text()
}

// says waits for a line that is known.
func (p *process) says(want string) {
	p.f.t.Helper()
	if got := p.line(); got != want {
		p.f.t.Fatalf("process %d said %q, want %q", p.cmd.Process.Pid, got, want)
	}
}

// kill is SIGKILL, and waits for the process to be gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	_ = p.wait()
}

// terminate tells the process to stop and waits until it has.
func (p *process) terminate() {
	p.f.t.Helper()
	p.signal(syscall.SIGTERM)
	if err := p.wait(); err != nil {
		p.f.t.Errorf("process %d, told to stop: %v", p.cmd.Process.Pid, err)
	}
}

func (p *process) wait() error {
	if p.ended {
		return nil
	}
	p.ended = true
	_, _ = io.Copy(io.Discard, p.out)
	return p.cmd.Wait()
}
