package fleet_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Workers by every access execute runs with steps of every kind, under each isolation that an application may have made
// its database's default.
func TestEveryAccess(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"read committed", "serializable"} {
		for _, access := range pgtest.Accesses {
			t.Run(access.Name+" "+isolation, func(t *testing.T) {
				t.Parallel()
				runs := sized(4, 12, 40)
				if !pgtest.Full() {
					if isolation == "serializable" && access.Name != pgtest.PQ.Name && access.Name != pgtest.PGX.Name {
						t.Skip("in full mode")
					}
				}
				f := setup(t)
				f.exec(fmt.Sprintf("ALTER DATABASE %s SET default_transaction_isolation = '%s'", kit.One[string](t, f.db, "SELECT current_database()"), isolation))
				f.pass(access, runs)
			})
		}
	}
}

func (f *fleet) pass(access pgtest.Access, runs int) {
	t := f.t
	services := make([]*workflow.Service, 2)
	for i := range services {
		db := f.pg.Open(t, access)
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(8)
		services[i] = f.service(db, nil)
		services[i].Register(journey(f.db))
		kit.Work(t, services[i])
	}
	db := f.pg.Open(t, access)
	client := f.service(db, nil)
	ctx := kit.Context(t)
	var handles []*workflow.Handle[int]
	for n := range runs {
		handle, err := startInTx(ctx, db, client, n)
		for isSerializationFailure(err) { // passed through: the transaction is the application's
			handle, err = startInTx(ctx, db, client, n)
		}
		kit.Must(t, err)
		handles = append(handles, handle)
	}
	// One run is cancelled on its way, and resumed.
	kit.Until(t, "a step is recorded", func() bool {
		return f.count("SELECT count(*) FROM workflows.workflow_steps WHERE run_id = $1", runID(0)) > 0
	})
	err := client.Cancel(ctx, runID(0))
	var late *workflow.TransitionError
	if err == nil {
		if _, err := handles[0].Result(ctx); !errors.Is(err, workflow.ErrRunCancelled) {
			t.Errorf("cancelled: %v", err)
		}
		kit.Must(t, client.Resume(ctx, runID(0)))
	} else if !errors.As(err, &late) {
		t.Error(err)
	}
	f.results(handles)
	f.verify()
}

// startInTx starts a run in a transaction; the second one is rolled back, and the run started without.
func startInTx(ctx context.Context, db *sql.DB, client *workflow.Service, n int) (*workflow.Handle[int], error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit: no effect
	handle, err := journey(nil).Start(ctx, client.In(tx), n, workflow.WithRunID(runID(n)))
	if err != nil {
		return nil, err
	}
	if n != 1 {
		return handle, tx.Commit()
	}
	if err := tx.Rollback(); err != nil {
		return nil, err
	}
	return journey(nil).Start(ctx, client, n, workflow.WithRunID(runID(n)))
}

func isSerializationFailure(err error) bool {
	var failure interface{ SQLState() string }
	return errors.As(err, &failure) && failure.SQLState() == "40001"
}
