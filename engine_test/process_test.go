package engine_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A cut says where a process is killed: at the nth statement that counts, before it is sent or after it was done, its
// answer dropped. Or there only the connection is, and the process lives on. The zero cut is none.
type cut struct {
	n     int
	after bool
	lives bool
}

func (c cut) String() string {
	when := "before"
	if c.after {
		when = "after"
	}
	return fmt.Sprintf("%s statement %d", when, c.n)
}

// A process stands for one with a pool of its own that is killed: from its cut on every connection is closed and every
// statement fails, so that the server sees what it sees after kill -9. What still happens in Go is not the process's, and
// steps ask alive before they take effect.
type process struct {
	name   string
	cut    cut // under mu
	counts func(statement) verdict

	mu    sync.Mutex
	trail []string // the statements that count, as labels
	all   []sent   // of whatever kind
	open  map[net.Conn]bool
	steps map[int]chan struct{} // closed when so many statements were counted
	dead  chan struct{}
	lost  chan struct{}              // closed when a connection was cut and the process lives
	late  map[string]<-chan struct{} // by label: the answer to the next one comes when this is closed
}

type sent struct {
	text string
	args []driver.NamedValue
}

// A statement is what a text is for.
type statement struct {
	label string
	lease bool // keeps the lease: sent as time goes by
	looks bool // for work: sent all the time, and of interest when it finds some
}

type verdict int

const (
	never verdict = iota
	whenFound
	always
)

// ofRuns counts what moves runs, and not what keeps the lease.
func ofRuns(s statement) verdict {
	switch {
	case s.lease:
		return never
	case s.looks:
		return whenFound
	default:
		return always
	}
}

// ofTakeOver counts the take-over too, if there is one.
func ofTakeOver(s statement) verdict {
	if s.looks {
		return whenFound
	}
	return ofRuns(s)
}

// ofLease counts what keeps the lease, and nothing else.
func ofLease(s statement) verdict {
	if s.lease {
		return always
	}
	return never
}

// Statements that are sent as time goes by, and those that are of interest when they find something.
var (
	ofTheLease = map[string]bool{
		"heartbeat": true, "find_orphans": true, "take_over": true, "forget_workers": true, "owned_runs": true,
		"unserved_workflows": true, "unserved_queues": true, "wake_seqs": true, "find_stranded": true, "find_queues": true, "find_overdue": true,
		"due_schedules": true, "unserved_schedules": true,
	}
	looking = map[string]bool{"find_orphans": true, "take_over": true, "claim_runs": true, "claim_queue": true, "claim_partitions": true}
)

func classify(text string) statement {
	label := pg.NameOf(text)
	if label == "" { // not one of ours
		label = strings.Join(strings.Fields(text)[:2], " ")
	}
	return statement{label: label, lease: ofTheLease[label], looks: looking[label]}
}

var (
	errKilled = errors.New("killed")
	errLost   = fmt.Errorf("connection lost: %w", io.ErrUnexpectedEOF) // which is what drivers say
)

// newProcess returns a process and its pool.
func newProcess(t testing.TB, pg *pgtest.Database, access pgtest.Access, name string, at cut) (*process, *sql.DB) {
	t.Helper()
	p := &process{
		name: name, cut: at, counts: ofRuns,
		open: make(map[net.Conn]bool), steps: make(map[int]chan struct{}), dead: make(chan struct{}), lost: make(chan struct{}),
	}
	u, err := url.Parse(pg.AccessURL(t, access))
	kit.Must(t, err)
	query := u.Query()
	query.Set("application_name", name)
	u.RawQuery = query.Encode()

	var inner driver.Connector
	if access.Driver == pgtest.PGX.Driver {
		config, err := pgx.ParseConfig(u.String())
		kit.Must(t, err)
		config.DialFunc = p.DialContext
		inner = stdlib.GetConnector(*config)
	} else {
		connector, err := pq.NewConnector(u.String())
		kit.Must(t, err)
		connector.Dialer(p)
		inner = connector
	}
	db := sql.OpenDB(&killable{inner, p})
	db.SetMaxIdleConns(8)
	t.Cleanup(func() { _ = db.Close() }) // of a killed process it is an error
	return p, db
}

// alive blocks for ever, which is until ctx ends, once the process is dead.
func (p *process) alive(ctx context.Context) error {
	if !p.isDead() {
		return nil
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// kill expects mu to be held.
func (p *process) kill() {
	if p.isDead() {
		return
	}
	close(p.dead)
	for c := range p.open {
		_ = c.Close()
	}
}

// counted returns a channel that is closed when n statements were counted.
func (p *process) counted(n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	reached := make(chan struct{})
	if len(p.trail) >= n {
		close(reached)
	} else {
		p.steps[n] = reached
	}
	return reached
}

func (p *process) trace() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.trail)
}

// newest returns the newest statement of a kind as it was sent.
func (p *process) newest(label string) (sent, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.all) {
		if classify(s.text).label == label {
			return s, true
		}
	}
	return sent{}, false
}

// registrations returns how many leases it has asked for.
func (p *process) registrations() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		if classify(s.text).label == "register_worker" {
			n++
		}
	}
	return n
}

// delay keeps the answer to a statement back, if it is to come late; its context's end is ignored.
func (p *process) delay(label string) {
	p.mu.Lock()
	late := p.late[label]
	delete(p.late, label)
	p.mu.Unlock()
	if late != nil {
		<-late
	}
}

// count sends a statement that counts, unless this is where the process dies.
func (p *process) count(label string, send func() error) error {
	p.mu.Lock()
	if p.isDead() {
		p.mu.Unlock()
		return errKilled
	}
	p.trail = append(p.trail, label)
	here := len(p.trail) == p.cut.n
	if reached := p.steps[len(p.trail)]; reached != nil {
		close(reached)
	}
	if here && !p.cut.after {
		defer p.mu.Unlock()
		return p.fall()
	}
	p.mu.Unlock()

	err := send()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case here:
		return p.fall()
	case p.isDead():
		return errKilled
	default:
		return err
	}
}

// fall does what the cut says. It expects mu to be held.
func (p *process) fall() error {
	if p.cut.lives {
		close(p.lost)
		return errLost
	}
	p.kill()
	return errKilled
}

func (p *process) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if p.isDead() {
		return nil, errKilled
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isDead() {
		_ = c.Close()
		return nil, errKilled
	}
	p.open[c] = true
	return c, nil
}

// Dial and DialTimeout are of pq.Dialer.
func (p *process) Dial(network, address string) (net.Conn, error) {
	return p.DialContext(context.Background(), network, address)
}

func (p *process) DialTimeout(network, address string, d time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.DialContext(ctx, network, address)
}
