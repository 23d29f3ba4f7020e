package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// InboxRequest says what a run waits for.
type InboxRequest struct {
	RunID string
	After map[string]int64 // the signals wanted, by name: those with a greater Seq
	Steps []string         // the scheduled steps wanted
}

// InboxLimit is how many signals of one name [Store.ReadInbox] returns at most.
const InboxLimit = 100

// Inbox is what has come for a run.
type Inbox struct {
	WakeSeq  int64      // of which this is what had come
	Now      int64      // the database's time, Unix milliseconds
	Signals  []Signal   // oldest first; of each name at most InboxLimit
	Steps    []Step     // as they stand
	Children []ChildEnd // of the wanted steps whose children have all ended, in no particular order
}

// ChildEnd is a run that has ended, and the step of its parent that waited for it. Its Input is not read.
type ChildEnd struct {
	Step string
	Run  Run
}

// Each wanted thing is a signal's name or a step's, the other is NULL. All of it is one snapshot: what had come when the
// count was wake_seq is here.
var readInbox = pg.DefineRead("read_inbox", `
	SELECT run.wake_seq, {now_ms} AS now, `+signalColumns+`, `+stepColumns+`
	FROM {schema}.workflow_runs AS run
	LEFT JOIN unnest((SELECT $2::text[]), (SELECT $3::bigint[]), (SELECT $4::text[])) AS wanted (signal, after, step) ON true
	LEFT JOIN LATERAL (
	    SELECT name, key, seq, payload, sent_at
	    FROM {schema}.workflow_signals
	    WHERE run_id = run.id AND name = wanted.signal AND seq > wanted.after
	    ORDER BY seq
	    LIMIT `+strconv.Itoa(InboxLimit)+`
	) AS signal ON true
	LEFT JOIN LATERAL (
	    SELECT *
	    FROM {schema}.workflow_steps
	    WHERE run_id = run.id AND step_name = wanted.step
	    OFFSET 0
	) AS step ON true
	WHERE run.id = $1
	ORDER BY signal.seq`)

// ReadInbox returns what has come for a run of what it waits for; ErrRunNotFound when it was deleted.
func (s *Store) ReadInbox(ctx context.Context, request InboxRequest) (Inbox, error) {
	inbox, err := s.readInbox(ctx, request)
	if err != nil {
		return Inbox{}, pg.Problem(fmt.Sprintf("read the inbox of run %q", request.RunID), err)
	}
	return inbox, nil
}

func (s *Store) readInbox(ctx context.Context, request InboxRequest) (Inbox, error) {
	var rows []struct {
		WakeSeq int64 `db:"wake_seq"`
		Now     int64 `db:"now"`
		signalRow
		stepRow
	}
	signals, after, steps := request.wanted()
	if err := s.db.List(ctx, &rows, readInbox, request.RunID, signals, after, steps); err != nil {
		return Inbox{}, err
	}
	if len(rows) == 0 {
		return Inbox{}, ErrRunNotFound
	}

	inbox := Inbox{WakeSeq: rows[0].WakeSeq, Now: rows[0].Now}
	var ended []string
	for _, row := range rows {
		if row.signalRow.Name.Valid {
			inbox.Signals = append(inbox.Signals, row.signal(request.RunID))
		}
		if row.stepRow.Name.Valid {
			step := row.step(request.RunID)
			inbox.Steps = append(inbox.Steps, step)
			if step.Status == StepScheduled && step.ChildID != "" && step.Waiting == 0 {
				ended = append(ended, step.Name)
			}
		}
	}
	var err error
	if len(ended) > 0 {
		inbox.Children, err = s.childEnds(ctx, request.RunID, ended)
		inbox.dropResumed()
	}
	return inbox, err
}

// dropResumed takes back that the children of a step have all ended if one was resumed between the two statements.
func (in *Inbox) dropResumed() {
	for _, child := range in.Children {
		for i := range in.Steps {
			if in.Steps[i].Name == child.Step && !child.Run.Status.Finished() {
				in.Steps[i].Waiting++
			}
		}
	}
}

// wanted returns arrays of one length: first the signals, then the steps.
func (r InboxRequest) wanted() (signals, after, steps string) {
	var names, seqs, keys pg.Array
	for name, seq := range r.After {
		names.Add(name)
		seqs.Add(seq)
		keys.Add(nil)
	}
	for _, step := range r.Steps {
		names.Add(nil)
		seqs.Add(nil)
		keys.Add(step)
	}
	return names.Literal(), seqs.Literal(), keys.Literal()
}

// In a later snapshot than that of the steps: these runs have ended, but one may have been resumed since.
var listChildEnds = pg.DefineRead("list_child_ends", `
	SELECT parent_step, id, workflow, status, output, error
	FROM {schema}.workflow_runs
	WHERE parent_id = $1 AND parent_step = ANY ($2::text[])`)

func (s *Store) childEnds(ctx context.Context, parentID string, steps []string) ([]ChildEnd, error) {
	var rows []struct {
		Step string `db:"parent_step"`
		runRow
	}
	if err := s.db.List(ctx, &rows, listChildEnds, parentID, pg.Texts(steps)); err != nil {
		return nil, err
	}
	ends := make([]ChildEnd, len(rows))
	for i, row := range rows {
		ends[i] = ChildEnd{Step: row.Step, Run: row.run()}
	}
	return ends, nil
}

// OFFSET 0 makes it a look-up for each run, as in loadSteps.
var wakeSeqs = pg.DefineRead("wake_seqs", `
	SELECT given.id, run.wake_seq
	FROM unnest((SELECT $1::text[])) AS given (id)
	CROSS JOIN LATERAL (
	    SELECT wake_seq
	    FROM {schema}.workflow_runs
	    WHERE id = given.id
	    OFFSET 0
	) AS run`)

// WakeSeqs returns how much has come for each of the given runs, those that do not exist left out.
func (s *Store) WakeSeqs(ctx context.Context, runIDs []string) (map[string]int64, error) {
	var rows []struct {
		ID      string `db:"id"`
		WakeSeq int64  `db:"wake_seq"`
	}
	if err := s.db.List(ctx, &rows, wakeSeqs, pg.Texts(runIDs)); err != nil {
		return nil, pg.Problem("look what has come for runs", err)
	}
	seqs := make(map[string]int64, len(rows))
	for _, row := range rows {
		seqs[row.ID] = row.WakeSeq
	}
	return seqs, nil
}
