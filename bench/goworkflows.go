package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/cschleiden/go-workflows/backend"
	"github.com/cschleiden/go-workflows/backend/monoprocess"
	"github.com/cschleiden/go-workflows/backend/postgres"
	"github.com/cschleiden/go-workflows/client"
	"github.com/cschleiden/go-workflows/worker"
	goworkflow "github.com/cschleiden/go-workflows/workflow"
	"github.com/google/uuid"
)

type goWorkflows struct {
	db     *sql.DB
	worker *worker.Worker
	client *client.Client
	stop   context.CancelFunc
}

func goTenSteps(ctx goworkflow.Context, _ int) (int, error) {
	for range stepsPerRun {
		if _, err := goworkflow.ExecuteActivity[string](ctx, goworkflow.DefaultActivityOptions, step).Get(ctx); err != nil {
			return 0, err
		}
	}
	return stepsPerRun, nil
}

func openGoWorkflows(_ context.Context, url string, _ int) (system, error) {
	db, err := openPool("pgx", url)
	if err != nil {
		return nil, err
	}
	back := monoprocess.NewMonoprocessBackend(postgres.NewPostgresBackendWithDB(db, postgres.WithApplyMigrations(true),
		postgres.WithBackendOptions(backend.WithLogger(slog.New(slog.DiscardHandler)))))
	g := &goWorkflows{db: db, worker: worker.New(back, nil), client: client.New(back)}
	var ctx context.Context
	ctx, g.stop = context.WithCancel(context.Background())
	err = g.worker.RegisterActivity(step)
	for _, w := range []goworkflow.Workflow{goTenSteps, goOneStep, goFamily, goWaits} {
		err = errors.Join(err, g.worker.RegisterWorkflow(w))
	}
	if err == nil {
		err = g.worker.Start(ctx)
	}
	return g, err
}

func (g *goWorkflows) Close() error {
	g.stop()
	return errors.Join(g.worker.WaitForCompletion(), g.db.Close())
}

func (g *goWorkflows) Run(ctx context.Context) error {
	instance, err := g.client.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: uuid.NewString()}, goTenSteps, 1)
	if err != nil {
		return err
	}
	_, err = client.GetWorkflowResult[int](ctx, g.client, instance, time.Minute)
	return err
}
