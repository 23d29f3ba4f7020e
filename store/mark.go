package store

import "context"

// A mark says that a step is about to be called.
type mark struct {
	Owned
	name     string
	stepKind StepKind
	seq      int
}

func (mark) kind() int { return markKind }
func (mark) size() int { return 0 }
func (m mark) fill(row *fields) {
	row.text(m.RunID)
	row.number(m.Epoch)
	row.text(m.name)
	row.textOrNull(string(m.stepKind))
	row.numberOrNull(m.seq)
}

// MarkStep records durably that a step of an owned run is about to be called (its status is running then), so that whoever
// takes the run over can tell that its worker died in user code.
func (s *Store) MarkStep(ctx context.Context, run Owned, name string, kind StepKind, seq int) (Outcome, error) {
	outcomes, err := s.Write(ctx, []Write{mark{run, name, kind, seq}})
	return outcomes[0], err
}
