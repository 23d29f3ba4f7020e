package store

import (
	"context"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// A Write is a row that the engine writes all the time: the start of a run ([NewRun]), the success of a step
// ([*Checkpoint]), a failed attempt of one ([*Failure]), a run that begins to wait ([*Park]), the outcome of a run ([*End])
// and so on; or a signal ([NewSignal]), which goes with other signals only.
type Write interface {
	kind() int // its place in kinds
	fill(row *fields)
	size() int // bytes of its payloads
}

// Size returns about how many bytes of payload a write has.
func Size(w Write) int { return w.size() }

// Outcome is what became of a [Write].
type Outcome int

// The outcomes of a write.
const (
	Written Outcome = iota
	Lost            // the run has another owner, or is finished; nothing was written
	Exists          // the run, or a success of the step, was there before; nothing was written
	Locked          // a transaction of somebody else holds the run; nothing was written: send it again later. Of a signal: any reason
	Woken           // of a Park: something came for the run meanwhile; nothing was written
)

var outcomes = map[string]Outcome{"lost": Lost, "exists": Exists, "locked": Locked, "woken": Woken}

// String returns the outcome in a word.
func (o Outcome) String() string {
	for word, outcome := range outcomes {
		if outcome == o {
			return word
		}
	}
	return "written"
}

// Write writes rows in one statement and returns what became of each; if some were not written, another one asks why. No
// row waits for a lock, alone or with others. An error concerns all rows: they were written all, or none.
//
// Rows that are written with others are expected to be new: if one of the runs or steps exists, that is an error of all
// ([IsPermanent]), because an INSERT that provides for it costs half as much again. A row that is written alone may
// exist: then the outcome says so if it is a run, or a step that has succeeded.
func (s *Store) Write(ctx context.Context, writes []Write) ([]Outcome, error) {
	if len(writes) == 1 {
		outcome, err := s.writeOne(ctx, writes[0])
		return []Outcome{outcome}, pg.Problem(kinds[writes[0].kind()].op, err)
	}
	written := make([]Outcome, len(writes))
	b := newBatch(writes)
	missed, err := s.db.Pairs(ctx, grouped[b.set], b.args()...) // of the kind, and which of that kind, from 1
	if err != nil {
		return written, pg.Problem(fmt.Sprintf("write %d rows", len(writes)), err)
	}
	if len(missed) == 0 {
		return written, nil
	}
	places, rows := make([]int, len(missed)), make([]Write, len(missed))
	for i, pair := range missed {
		places[i] = b.places[pair[0]][pair[1]-1]
		rows[i] = writes[places[i]]
	}
	why, err := s.why(ctx, rows)
	if err != nil {
		return written, pg.Problem(fmt.Sprintf("write %d rows", len(writes)), err)
	}
	for i, outcome := range why {
		written[places[i]] = outcome
	}
	return written, nil
}

func (s *Store) writeOne(ctx context.Context, w Write) (Outcome, error) {
	written, err := s.db.Exec(ctx, alone[w.kind()], arguments(w)...)
	if err != nil || written == 1 {
		return Written, err
	}
	why, err := s.why(ctx, []Write{w})
	if err != nil {
		return Lost, err
	}
	return why[0], nil
}

// A batch is the arguments of a statement with many rows: an array for each field of each kind.
type batch struct {
	set    int     // a bit for each kind
	places [][]int // by kind: the rows' places among all writes
	arrays [][]pg.Array
	fields int // arrays in all
}

func newBatch(writes []Write) batch {
	b := batch{places: placesByKind(writes), arrays: make([][]pg.Array, len(kinds))}
	row := fields{ends: make([]int, 0, 16)}
	most := 0 // bytes that an array has, as a rule
	for _, w := range writes {
		most += w.size() + 64
	}
	for i, places := range b.places {
		for n, place := range places {
			row.reset()
			writes[place].fill(&row)
			if n == 0 {
				b.set |= 1 << i
				b.fields += len(row.ends)
				b.arrays[i] = make([]pg.Array, len(row.ends))
			}
			begin := 0
			for field, end := range row.ends {
				element := row.elements[begin:end]
				b.arrays[i][field].Reserve(min((len(element)+4)*len(places), most)) // as the others will be alike
				b.arrays[i][field].AddElement(element)
				begin = end
			}
		}
	}
	return b
}

// placesByKind are the places that the rows of each kind have.
func placesByKind(writes []Write) [][]int {
	counts, places := make([]int, len(kinds)), make([][]int, len(kinds))
	for _, w := range writes {
		counts[w.kind()]++
	}
	for place, w := range writes {
		i := w.kind()
		if places[i] == nil {
			places[i] = make([]int, 0, counts[i])
		}
		places[i] = append(places[i], place)
	}
	return places
}

func (b batch) args() []any {
	args := make([]any, 0, b.fields)
	for _, arrays := range b.arrays {
		for i := range arrays {
			args = append(args, arrays[i].Literal())
		}
	}
	return args
}
