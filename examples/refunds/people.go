package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow"
)

// people pretend to be those who are asked, each before a page that lists what is open for them. (In a mail there would be a link
// with [workflow.ApprovalID] in it.) Who they are is for the application to make sure of.
type people struct {
	shop *shop
	out  io.Writer
	mu   sync.Mutex // guards out
}

// managers has two of them decide until ctx ends: anna one thing after the other, ben at the same moment as she. Before both comes
// mallory, whom nobody has asked.
func (p *people) managers(ctx context.Context) {
	for every(ctx, 300*time.Millisecond) {
		page, err := p.shop.service.ListApprovals(ctx, workflow.ApprovalFilter{From: "anna", Limit: 1})
		if err != nil {
			continue
		}
		for _, open := range page.Approvals {
			var request Request
			if err := open.DecodeFor(&request); err != nil {
				p.say("%s: %v", open.ID, err)
				continue
			}
			yes := request.Reason != "changed my mind"
			p.decide(ctx, open.ID, "mallory", true)
			var both sync.WaitGroup
			both.Go(func() { p.decide(ctx, open.ID, "anna", yes) })
			both.Go(func() { p.decide(ctx, open.ID, "ben", yes) })
			both.Wait()
		}
	}
}

// director has clara decide when her time is over.
func (p *people) director(ctx context.Context) {
	decided := make(map[string]bool)
	for every(ctx, 20*time.Millisecond) {
		for _, id := range p.expired(ctx) {
			if !decided[id] {
				decided[id] = true
				p.decide(ctx, id, "clara", true)
			}
		}
	}
}

// decide is a button that somebody presses. The key makes a second press none.
func (p *people) decide(ctx context.Context, id, by string, yes bool) {
	err := approval.Decide(ctx, p.shop.service, id, by, yes, workflow.WithKey(by))
	switch {
	case errors.Is(err, workflow.ErrRunFinished):
		p.say("%s comes too late for %s: it is over", by, id)
	case err != nil:
		p.say("%s, %s: %v", id, by, err)
	default:
		p.say("%s says %s to %s", by, words[yes], id)
	}
}

func (p *people) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "  "+format+"\n", args...)
}

// expired returns the approvals that nobody has decided in time.
func (p *people) expired(ctx context.Context) (ids []string) {
	rows, err := p.shop.db.QueryContext(ctx, `SELECT run_id FROM example_refunds.refunds WHERE outcome = $1`, string(Expired))
	if err != nil {
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var runID string
		if rows.Scan(&runID) == nil {
			ids = append(ids, workflow.ApprovalID(runID, approval.Name()))
		}
	}
	if rows.Err() != nil {
		return nil
	}
	return ids
}

var words = map[bool]string{true: "yes", false: "no"}
