package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// The name is stored with every run: the function may be renamed, this may not.
const workflowName = "take-order"

// Order is a line that makes sense.
type Order struct {
	Number   string
	Customer string
	Article  string
	Quantity int
}

// Receipt is what a run returns.
type Receipt struct {
	Order       string
	Cents       int
	Payment     string
	ConfirmedAt time.Time
}

// takeOrder is the workflow. After a crash it is called again from the top, and each Do that has a recorded result
// returns that instead of calling its function: so the work goes on at the step in which the process died.
//
// That step may have had its effect already, only not its record. So each step here may safely run again; shop.go says
// for each how.
func (s *shop) takeOrder(ctx context.Context, line Line) (Receipt, error) {
	order, err := workflow.Do(ctx, "validate", func(ctx context.Context) (Order, error) {
		return s.validate(ctx, line)
	})
	if err != nil {
		return Receipt{}, err // the run fails with the step's error
	}
	cents, err := workflow.Do(ctx, "reserve", func(ctx context.Context) (int, error) {
		return s.reserve(ctx, line, order)
	})
	if err != nil {
		return Receipt{}, err
	}
	payment, err := workflow.Do(ctx, "charge", func(ctx context.Context) (string, error) {
		// The key is the same whenever this step runs, so the provider knows a repeated request.
		return s.payments.charge(ctx, workflow.RunID(ctx)+"/charge", order.Number, cents)
	})
	if err != nil {
		return Receipt{}, err
	}
	confirmedAt, err := workflow.Do(ctx, "confirm", func(ctx context.Context) (time.Time, error) {
		return s.confirm(ctx, order, cents)
	})
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Order: order.Number, Cents: cents, Payment: payment, ConfirmedAt: confirmedAt}, nil
}

// The codes of failed runs.
const (
	brokenLine     = "broken line"
	badQuantity    = "bad quantity"
	unknownArticle = "unknown article"
	duplicateOrder = "duplicate order"
	outOfStock     = "out of stock"
)

// refuse returns an error that names the line. Its code is kept with it, for programs to match on.
func refuse(line Line, code, format string, args ...any) error {
	return &workflow.Error{Code: code, Message: fmt.Sprintf("line %d: ", line.Number) + fmt.Sprintf(format, args...)}
}
