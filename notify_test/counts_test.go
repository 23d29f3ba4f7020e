package notify_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A burst of starts makes few notifications, whoever starts them.
func TestNotificationsGoTogether(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		p := d.start(t, database)
		begun := time.Now()
		for _, err := range kit.Together(50, func(i int) error {
			for k := range 20 {
				if _, err := double.Start(t.Context(), p, 20*i+k); err != nil {
					return err
				}
			}
			return nil
		}) {
			kit.Must(t, err)
		}
		took := time.Since(begun)
		kit.Must(t, p.Close()) // sends what is left
		most := int(took/(10*time.Millisecond)) + 2
		if n := p.count("notify"); n < 1 || n > most {
			t.Errorf("1,000 starts in %s made %d notifications, want at most %d", took, n, most)
		}
		t.Logf("1,000 starts in %s, %d notifications", took, p.count("notify"))
	})
}

// A notification is no part of what it tells of: a start is one statement, and the notification another, in a transaction of its own
// where statements have one. Listening costs the pool nothing but that.
func TestNotificationsAreOffTheCommitPath(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		p := d.start(t, pgtest.New(t))
		_, err := double.Start(t.Context(), p, 1)
		kit.Must(t, err)
		kit.Must(t, p.Close())
		got, texts := p.counter.TakeTexts()
		want := counting.Counts{Statements: 2}
		if d.statements == workflow.StatementsInTx {
			want.Begins, want.Commits = 2, 2
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", texts, diff)
		}
	})
}

// Without a notifier nothing is sent, whatever happens.
func TestWithoutANotifier(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) {
			if err := workflow.Sleep(ctx, "nap", time.Millisecond); err != nil {
				return 0, err
			}
			return workflow.Call(ctx, "c", double, n)
		})
		alone := func(c *workflow.Config) { c.Notifier, c.PollInterval = nil, 10*time.Millisecond }
		worker := d.start(t, database, alone)
		worker.Register(parent, double)
		kit.Work(t, worker)
		other := d.start(t, database, alone)
		handle, err := parent.Start(t.Context(), other, 1)
		kit.Must(t, err)
		if _, err := handle.Result(kit.Context(t)); err != nil {
			t.Fatal(err)
		}
		spare, err := parent.Start(t.Context(), other, 1, workflow.WithDelay(time.Hour))
		kit.Must(t, err)
		kit.Must(t, spare.Cancel(t.Context()))
		kit.Must(t, other.Resume(t.Context(), spare.RunID()))
		other.Wake()
		db := database.Open(t, d.access)
		if n := kit.One[int](t, db, `
			SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'`); n > 0 {
			t.Errorf("%d connections listen", n)
		}
		kit.Must(t, other.Close())
		kit.Must(t, worker.Close())
		if n := other.count("notify") + worker.count("notify"); n > 0 {
			t.Errorf("%d notifications", n)
		}
	})
}

// While others are heard, an idle worker polls rarely, as does whoever awaits; as soon as they are not, both do as without a
// notifier. The interval is what it was, and a quick one.
func TestPollsAreRareWhileOthersAreHeard(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		quick := func(c *workflow.Config) { c.PollInterval = 10 * time.Millisecond }
		worker := d.start(t, database, quick).works(double)
		awaits := d.start(t, database, quick)
		handle, err := workflow.Define[int, int]("nobody's", nil).Start(t.Context(), awaits, 1)
		kit.Must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		result := kit.Go(t, func() error {
			_, err := handle.Result(ctx)
			return err
		})
		awaits.hears(1)

		type poll struct {
			name string
			n    func() int
		}
		polls := []poll{
			{"claim", func() int { return worker.count("claim_runs") }},
			{"look-up", awaits.awaits},
		}
		for _, poll := range polls {
			last := poll.n() + 1
			kit.Until(t, "a poll", func() bool { return poll.n() >= last })
			begun := time.Now()
			kit.Until(t, "three more", func() bool { return poll.n() >= last+3 })
			if took := time.Since(begun); took < time.Second || took > 3*2*time.Second+5*time.Second {
				t.Errorf("three polls, of kind %s, took %s", poll.name, took)
			}
		}
		cancel()
		kit.WantIs(t, kit.Receive(t, "the end of the wait", result), context.Canceled)
	})
}

// What another's code, or another program, sends on the channel does no harm and means nothing.
func TestBrokenPayloadsAreIgnored(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		db := database.Open(t, d.access)
		worker, asks := d.start(t, database).works(double), d.start(t, database)
		looks := worker.count("claim_runs")
		for i, payload := range []string{"", "x", "{", "null", `{"from":1}`, `{"work":true}`, `{"from":"x","runs":[1]}`, `{"from":"x"}`} {
			kit.Exec(t, db, "SELECT pg_notify('sqlworkflow_workflows', $1)", payload)
			if i%2 == 0 {
				asks.doubled(kit.Context(t), i)
			}
		}
		kit.Exec(t, db, `
			SELECT pg_notify('sqlworkflow_workflows', '{"from":"x","work":true,"runs":["no such run"],"lost":["nor this"],"all":true}')`)
		kit.Until(t, "a hint of a stranger is followed", func() bool { return worker.count("claim_runs") > looks })
		asks.doubled(kit.Context(t), 1)
		if n := worker.log.count("WARN") + worker.log.count("ERROR"); n > 0 {
			t.Errorf("%d complaints:\n%s", n, worker.log)
		}
	})
}
