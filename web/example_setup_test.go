package web_test

import (
	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// newService is a service on a database of its own.
func newService() (svc *workflow.Service, closeAll func()) {
	tb, end := pgtest.Example()
	svc, err := workflow.New(workflow.Config{DB: pgtest.New(tb).Open(tb, pgtest.PQ)})
	if err != nil {
		panic(err)
	}
	return svc, func() {
		if err := svc.Close(); err != nil {
			panic(err)
		}
		end()
	}
}
