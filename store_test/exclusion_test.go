package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// increment reads a number, adds one and writes it back, which loses updates without mutual exclusion.
func increment(ctx context.Context, svc *workflow.Service, id string) error {
	return svc.WithRunLock(ctx, id, func(ctx context.Context, tx *sql.Tx, _ workflow.State) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT n FROM app WHERE name = $1`, id).Scan(&n); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE app SET n = $2 WHERE name = $1`, id, n+1)
		return err
	})
}

func (b *bundle) counted(t *testing.T, id string, want int) {
	t.Helper()
	if n := kit.One[int](t, b.side, `SELECT n FROM app WHERE name = $1`, id); n != want {
		t.Errorf("counted %d, want %d: updates were lost", n, want)
	}
}

func (b *bundle) counter(t *testing.T) (id string) {
	t.Helper()
	b.application(t)
	id = b.newRun(t)
	kit.Exec(t, b.side, `INSERT INTO app (name) VALUES ($1)`, id)
	return id
}

func TestExclusionBetweenGoroutines(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.counter(t)
		for _, err := range kit.Together(16, func(int) error {
			for range 5 {
				if err := increment(t.Context(), b.svc, id); err != nil {
					return err
				}
			}
			return nil
		}) {
			kit.Must(t, err)
		}
		b.counted(t, id, 16*5)
	})
}

// Pools do not know of each other, and neither do two services; the drivers may differ.
func TestExclusionBetweenPools(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.counter(t)
		services := []*workflow.Service{
			b.svc,
			b.service(t, b.Open(t, access)),
			b.service(t, b.Open(t, pgtest.PGX)),
			b.service(t, b.side),
		}
		for _, err := range kit.Together(12, func(i int) error {
			for range 5 {
				if err := increment(t.Context(), services[i%len(services)], id); err != nil {
					return err
				}
			}
			return nil
		}) {
			kit.Must(t, err)
		}
		b.counted(t, id, 12*5)
	})
}

func TestExclusionBetweenProcesses(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.counter(t)
		const processes, goroutines, rounds = 3, 4, 10
		kit.Crowd(t, processes, job{
			Driver: access.Driver, URL: b.AccessURL(t, access), Run: id, Goroutines: goroutines, Rounds: rounds,
		})
		b.counted(t, id, processes*goroutines*rounds)
	})
}

// incrementMany is what each of those processes does.
func (j job) incrementMany(ctx context.Context) error {
	db, err := sql.Open(j.Driver, j.URL)
	if err != nil {
		return err
	}
	defer db.Close()
	svc, err := workflow.New(workflow.Config{DB: db})
	if err != nil {
		return err
	}
	for i, err := range kit.Together(j.Goroutines, func(int) error {
		for range j.Rounds {
			if err := increment(ctx, svc, j.Run); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			return fmt.Errorf("goroutine %d: %w", i, err)
		}
	}
	return svc.Close()
}
