package store

// PatchStep is the kind of a marker: the run takes the new way of a change in its function. It is no unit of work.
const PatchStep StepKind = "patch"

// Describe returns the kind in words.
func (k StepKind) Describe() string {
	switch k {
	case "":
		return "a plain step"
	case TxStep:
		return "a transactional step"
	case SleepStep:
		return "a sleep"
	case SignalStep:
		return "a wait for a signal"
	case PollStep:
		return "a poll of a signal"
	case ApprovalStep:
		return "an approval"
	case CallStep:
		return "a call of other runs"
	case SpawnStep:
		return "a start of other runs"
	case PatchStep:
		return "the marker of a patch"
	case AttributesStep:
		return "a setting of attributes"
	default:
		return "a step of kind " + string(k)
	}
}
