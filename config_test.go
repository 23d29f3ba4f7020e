package workflow

import (
	"database/sql"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Every error names the field and how to fix it.
func TestConfigErrors(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"neither DB nor DSN":    {Config{}, []string{"Config.DB", "Config.DSN", "set one"}},
		"both DB and DSN":       {Config{DB: db, DSN: "postgres://x"}, []string{"Config.DB", "Config.DSN", "set one"}},
		"unregistered driver":   {Config{DSN: "postgres://x", Driver: "mysql"}, []string{"Config.Driver", `"mysql"`, "import"}},
		"schema, upper case":    {Config{DB: db, Schema: "Workflows"}, []string{"Config.Schema", `"Workflows"`, "lower-case"}},
		"schema, quote":         {Config{DB: db, Schema: `a"b`}, []string{"Config.Schema"}},
		"schema, reserved":      {Config{DB: db, Schema: "user"}, []string{"Config.Schema", "reserved"}},
		"schema, pg_":           {Config{DB: db, Schema: "pg_work"}, []string{"Config.Schema"}},
		"schema, too long":      {Config{DB: db, Schema: strings.Repeat("a", 64)}, []string{"Config.Schema", "64"}},
		"schema, not ASCII":     {Config{DB: db, Schema: "café"}, []string{"Config.Schema"}},
		"schema, digit first":   {Config{DB: db, Schema: "1a"}, []string{"Config.Schema", "digit"}},
		"statements":            {Config{DB: db, Statements: 9}, []string{"Config.Statements", "StatementsAuto"}},
		"statements, negative":  {Config{DB: db, Statements: -1}, []string{"Config.Statements", "StatementsAuto"}},
		"negative timeout":      {Config{DB: db, Timeout: -1}, []string{"Config.Timeout"}},
		"negative lock timeout": {Config{DB: db, LockTimeout: -time.Second}, []string{"Config.LockTimeout"}},
		"negative limit":        {Config{DB: db, PayloadLimit: -1}, []string{"Config.PayloadLimit"}},
		"negative concurrency":  {Config{DB: db, Concurrency: -1}, []string{"Config.Concurrency"}},
		"negative poll":         {Config{DB: db, PollInterval: -1}, []string{"Config.PollInterval"}},
		"negative drain":        {Config{DB: db, Drain: -1}, []string{"Config.Drain"}},
		"negative park":         {Config{DB: db, ParkAfter: -1}, []string{"Config.ParkAfter"}},
		"negative steps":        {Config{DB: db, MaxSteps: -1}, []string{"Config.MaxSteps"}},
		"negative lease":        {Config{DB: db, Lease: -1}, []string{"Config.Lease"}},
		"queue, too long":       {Config{DB: db, Serve: []string{strings.Repeat("q", 256)}}, []string{"Config.Serve", "255"}},
		"queue, NUL":            {Config{DB: db, Serve: []string{"a\x00"}}, []string{"Config.Serve", "NUL"}},
		"queue twice":           {Config{DB: db, Serve: []string{"a", NoQueue, "a"}}, []string{"Config.Serve", `"a"`, "twice"}},
		"no queue twice":        {Config{DB: db, Serve: []string{NoQueue, NoQueue}}, []string{"Config.Serve", "twice"}},
		"short lease":           {Config{DB: db, Lease: time.Millisecond}, []string{"Config.Lease", "1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svc, err := New(test.config)
			if err == nil || svc != nil {
				t.Fatalf("New = %v, %v, want an error", svc, err)
			}
			for _, part := range append(test.want, "workflow: ") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not contain %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q shows the password", err)
			}
		})
	}
}

// The defaults that the comments of Config name.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	got := Config{}.withDefaults()
	if got.Logger == nil {
		t.Error("no logger")
	}
	got.Logger = nil
	want := Config{
		Driver: "postgres", Schema: "workflows", Timeout: 30 * time.Second, LockTimeout: 10 * time.Second,
		PayloadLimit: 1 << 20, Concurrency: 100, PollInterval: 250 * time.Millisecond, Lease: 30 * time.Second, Drain: 30 * time.Second,
		ParkAfter: 5 * time.Second, MaxSteps: 10_000, BlockedFor: 24 * time.Hour, RedispatchAfter: time.Minute,
		Retry: RetryPolicy{MaxAttempts: 5, FirstDelay: time.Second, Factor: 2, MaxDelay: 5 * time.Minute, Jitter: 0.2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// A pool of our own on lib/pq has binary_parameters, so that a lone statement is one round trip, unless the DSN says no.
func TestOwnPoolStatements(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		driver, parameters string
		binary             bool
	}{
		"lib/pq":           {"postgres", "", true},
		"lib/pq, told yes": {"postgres", "binary_parameters=yes", true},
		"lib/pq, told no":  {"postgres", "binary_parameters=no", false},
		"pgx":              {"pgx", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, err := url.Parse(pgtest.Empty(t).URL())
			kit.Must(t, err)
			dsn.RawQuery += "&" + test.parameters
			db, err := Config{DSN: dsn.String(), Driver: test.driver}.withDefaults().open()
			kit.Must(t, err)
			defer db.Close()
			if store.IsPQ(db) != (test.driver == "postgres") {
				t.Errorf("IsPQ = %t", store.IsPQ(db))
			}
			conn, err := db.Conn(t.Context())
			kit.Must(t, err)
			defer conn.Close()
			kit.Must(t, conn.Raw(func(c any) error {
				config := reflect.ValueOf(c).Elem().FieldByName("cfg") // of lib/pq's own connection, which nothing wraps
				if binary := config.IsValid() && config.FieldByName("BinaryParameters").Bool(); binary != test.binary {
					t.Errorf("binary_parameters is %t", binary)
				}
				return nil
			}))
		})
	}
}
