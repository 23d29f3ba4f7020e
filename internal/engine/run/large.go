package run

// A result of this many bytes, be it of a step, of a wait or of children, is forgotten when the function has got it, so that what a run
// takes of memory is bounded by the steps that it has in flight. Should the function be called again here, the result is read.
const largeResult = 16 << 10

// forget keeps what is recorded of the step without its large result.
func (s *step) forget() {
	if !s.recorded.isLarge() {
		return
	}
	light := *s.recorded
	light.Result, light.forgotten = nil, true
	s.remember(&light)
}

// recall reads what is recorded of the step if its result was forgotten.
func (s *step) recall() error {
	if s.recorded == nil || !s.recorded.forgotten {
		return nil
	}
	recorded, err := s.read()
	if err != nil {
		return s.call.run.lost(err)
	}
	s.recorded = recorded
	return nil
}

// isLarge reports whether the record is to be forgotten.
func (r *record) isLarge() bool { return len(r.Result) >= largeResult }
