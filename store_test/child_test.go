package store_test

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// A job is what another process of a test does.
type job struct {
	Driver, URL, Run   string
	Goroutines, Rounds int
}

// child is main in such a process.
func child(j job) error {
	ctx, cancel := context.WithTimeout(context.Background(), kit.Patience)
	defer cancel()
	return j.incrementMany(ctx)
}
