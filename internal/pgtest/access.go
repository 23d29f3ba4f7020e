package pgtest

import (
	"cmp"
	"errors"
	"maps"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "github.com/lib/pq"              // driver "postgres"

	"github.com/sqlworkflow/workflow/internal/server"
)

// An Access is a way to reach a database: a driver, its parameters, a pooler or none.
type Access struct {
	// Name is fit for a subtest.
	Name string
	// Driver is the name registered with database/sql.
	Driver string
	// Params are added to the URL's query.
	Params map[string]string
	// Pooled leads through PgBouncer, whose pool is smaller than the number of clients.
	Pooled bool
	// PoolMode is PgBouncer's: session, transaction or statement. Defaults to transaction.
	PoolMode string
}

// The direct accesses.
var (
	PQ       = Access{Name: "pq", Driver: "postgres"}
	PQBinary = Access{Name: "pq-binary", Driver: "postgres", Params: map[string]string{"binary_parameters": "yes"}}
	PGX      = Access{Name: "pgx", Driver: "pgx"}
)

// Accesses are all that the library supports, the direct ones first.
var Accesses = []Access{PQ, PQBinary, PGX, PQ.pooled(), PQBinary.pooled(), PGX.pooled()}

// execMode is pgx's parameter that says how statements are sent.
const execMode = "default_query_exec_mode"

// PgxDefaultPooled returns pgx through PgBouncer in the mode that pgx takes when nobody says otherwise, and
// whether the PgBouncer here is too old for it (before 1.21), so that statements fail. Accesses has pgx in a
// mode that works instead.
func PgxDefaultPooled() (a Access, oldPooler bool) {
	a = PGX.pooled()
	a.Name = "pgx-default-bouncer"
	a.Params = map[string]string{execMode: "cache_statement"}
	old, err := poolerIsOld()
	return a, err == nil && old
}

// In returns the access by PgBouncer in one of its pool modes.
func (a Access) In(mode string) Access {
	a.Name, a.Pooled, a.PoolMode = a.Name+" in "+mode+" mode", true, mode
	return a
}

func (a Access) pooled() Access {
	a.Name += "-bouncer"
	a.Pooled = true
	return a
}

// A bouncer is this process's PgBouncer in one mode.
type bouncer struct {
	*server.Pooler // reachable for as long as the process lives, see server.Pooler
	old            bool
}

const transactionMode = "transaction"

var sharedPoolers = map[string]func() (*bouncer, error){
	"session":       poolerIn("session"),
	transactionMode: poolerIn(transactionMode),
	"statement":     poolerIn("statement"),
}

func poolerIn(mode string) func() (*bouncer, error) {
	return sync.OnceValues(func() (*bouncer, error) {
		i, err := shared()
		if err != nil {
			return nil, err
		}
		old, err := poolerIsOld()
		if err != nil {
			return nil, err
		}
		p, err := server.StartPooler(background, i.url, mode)
		return &bouncer{p, old}, err
	})
}

var poolerIsOld = sync.OnceValues(func() (bool, error) {
	program, err := server.PoolerProgram()
	if err != nil {
		return false, err
	}
	keeps, err := server.KeepsPrepared(background, program)
	return !keeps, err
})

// PoolerSurvivesCancel reports whether clients may cancel statements through the PgBouncer here. Until 1.20 it could end with
// "server in bad state" when the server answered before the request to cancel was through (its issue 822).
func PoolerSurvivesCancel() bool {
	old, err := poolerIsOld()
	return err == nil && !old
}

// pooler returns the PgBouncer, or ends the test: skipped, in words that the wrapper repeats, where there is none.
func pooler(t testing.TB, a Access) *bouncer {
	t.Helper()
	p, err := sharedPoolers[cmp.Or(a.PoolMode, transactionMode)]()
	if errors.Is(err, server.ErrNoPooler) {
		t.Skip("NOT RUN: pgbouncer")
	}
	if err != nil {
		t.Fatalf("pgtest: pgbouncer: %v", err)
	}
	return p
}

// params returns what the driver needs behind this pooler: pgx prepares statements unless told not to.
func (b *bouncer) params(a Access) map[string]string {
	if a.Driver != PGX.Driver || !b.old || a.Params[execMode] != "" {
		return a.Params
	}
	params := map[string]string{execMode: "exec"}
	maps.Copy(params, a.Params)
	return params
}
