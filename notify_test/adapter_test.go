package notify_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/notify/pgxnotify"
)

// A listening is a notifier that listens, by itself.
type listening struct {
	ready chan struct{}
	heard chan string
	ended <-chan error
	stop  context.CancelFunc
}

func (d driver) listen(t *testing.T, address, channel string) *listening {
	t.Helper()
	notifier, err := d.notifier(address)
	kit.Must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	l := &listening{ready: make(chan struct{}, 1), heard: make(chan string, 1000), stop: stop}
	l.ended = kit.Go(t, func() error {
		return notifier.Listen(ctx, channel, func() { l.ready <- struct{}{} }, func(payload string) { l.heard <- payload })
	})
	return l
}

// ends waits for the end, which comes soon after it is told to.
func (l *listening) ends(t *testing.T) error {
	t.Helper()
	begun := time.Now()
	l.stop()
	err := kit.Receive(t, "the end of Listen", l.ended)
	if took := time.Since(begun); took > 4*time.Second { // five, and it is left behind
		t.Errorf("it took %s to end", took)
	}
	return err
}

// A notifier hears all that is said on its channel and nothing else, whatever the channel is called and however long it is, until it
// is told to stop.
func TestNotifierHears(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.Empty(t)
		db := database.Open(t, d.access)
		for _, channel := range []string{"plain", `Sonder"bar é`, strings.Repeat("x", 63)} {
			l := d.listen(t, database.URL(), channel)
			kit.Receive(t, "LISTEN is in force", l.ready)
			want := []string{"a", "", strings.Repeat("é", 3950), `{"b":"\"c"}`}
			for _, payload := range want {
				kit.Exec(t, db, "SELECT pg_notify($1, 'not this'), pg_notify($2, $3)", "another", channel, payload)
			}
			var got []string
			for range want {
				got = append(got, kit.Receive(t, "a notification", l.heard))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("on %q (-want +got):\n%s", channel, diff)
			}
			kit.WantIs(t, l.ends(t), context.Canceled)
			kit.Until(t, "its connection is closed", func() bool { return kit.One[int](t, db, "SELECT count(*) "+listeners) == 0 })
		}
	})
}

// Many notifications at once, also at the moment when it stops, neither get lost before nor keep it from stopping.
func TestNotifierUnderLoad(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.Empty(t)
		db := database.Open(t, d.access)
		l := d.listen(t, database.URL(), "c")
		kit.Receive(t, "LISTEN is in force", l.ready)
		flood := "SELECT count(pg_notify('c', n::text)) FROM generate_series(1, 500) AS n"
		kit.Exec(t, db, flood)
		for range 500 {
			kit.Receive(t, "a notification", l.heard)
		}
		kit.Exec(t, db, flood)
		kit.WantIs(t, l.ends(t), context.Canceled)
	})
}

// It ends with the reason when its connection does.
func TestNotifierIsTerminated(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.Empty(t)
		db := database.Open(t, d.access)
		l := d.listen(t, database.URL(), "c")
		kit.Receive(t, "LISTEN is in force", l.ready)
		kit.Exec(t, db, "SELECT pg_terminate_backend(pid) "+listeners)
		err := kit.Receive(t, "the end of Listen", l.ended)
		if err == nil || kit.SQLState(err) != "57P01" {
			t.Errorf("it ended with %v", err)
		}
	})
}

// On a network that swallows everything it still stops when it is told to, before it has connected and after.
func TestNotifierStopsInABlackHole(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		hole, address := kit.NewProxy(t, pgtest.Empty(t).URL())
		l := d.listen(t, address, "c")
		kit.Receive(t, "LISTEN is in force", l.ready)
		hole.Silence()
		if err := l.ends(t); err == nil {
			t.Error("it ended without a reason")
		}
		connecting := d.listen(t, address, "c")
		kit.Until(t, "it connects", func() bool { return hole.Connections() == 2 })
		if err := connecting.ends(t); err == nil {
			t.Error("it ended without a reason")
		}
	})
}

// A DSN that cannot be read is an error at once. No error has the password, whoever refuses it.
func TestNotifierKeepsThePassword(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		const secret = "hunter22"
		for _, dsn := range []string{
			"postgres://me:" + secret + "%zz@127.0.0.1/db", "postgres://me:" + secret + "/x@127.0.0.1:port/db",
			"host=127.0.0.1 password=x " + secret, "password='" + secret, secret + "@",
		} {
			_, err := d.notifier(dsn)
			if err == nil {
				l := d.listen(t, dsn, "c") // the driver reads it in a way of its own
				l.stop()
				err = kit.Receive(t, "the end of Listen", l.ended)
			}
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", dsn, err)
			}
		}
		for _, dsn := range []string{
			"postgres://me:" + secret + "@127.0.0.1:1/db?sslmode=disable", "host=127.0.0.1 port=1 sslmode=disable user=me password=" + secret,
		} {
			l := d.listen(t, dsn, "c")
			if err := kit.Receive(t, "the end of Listen", l.ended); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", dsn, err)
			}
		}
	})
}

// A notifier of a configuration has a copy of it.
func TestPgxConfig(t *testing.T) {
	t.Parallel()
	config, err := pgx.ParseConfig(pgtest.Empty(t).URL())
	kit.Must(t, err)
	notifier := pgxnotify.NewWithConfig(config)
	config.Port, config.Host = 1, "127.0.0.1"
	ctx, cancel := context.WithCancel(t.Context())
	if err := notifier.Listen(ctx, "c", cancel, nil); ctx.Err() == nil {
		t.Errorf("it was not ready: %v", err)
	}
}

// Each links its driver and the standard library, and nothing of ours; the library links neither.
func TestWhatNotifiersLink(t *testing.T) {
	t.Parallel()
	linked := func(name string) []string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", name).Output()
		kit.Must(t, err)
		modules := strings.Fields(string(out))
		slices.Sort(modules)
		return slices.Compact(modules)
	}
	const ours = "github.com/sqlworkflow/workflow"
	for name, want := range map[string][]string{
		"pqnotify": {"github.com/lib/pq", ours},
		"pgxnotify": {
			"github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile", "github.com/jackc/pgx/v5", ours, "golang.org/x/text",
		},
	} {
		if diff := cmp.Diff(want, linked(ours+"/notify/"+name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
