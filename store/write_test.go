package store

import (
	"strconv"
	"strings"
	"testing"
)

// A statement has the kinds of its set alone, and numbers its parameters through.
func TestGroupedText(t *testing.T) {
	t.Parallel()
	fields := func(k kind) int { return strings.Count(k.fields, ",") + 1 }
	for set := range grouped {
		text, parameters := groupedText(set), 0
		for i, k := range kinds {
			if i == attributesKind { // which writes a checkpoint, and more
				continue
			}
			has := set&(1<<i) != 0
			if has {
				parameters += fields(k)
			}
			if got := strings.Contains(text, strings.TrimSpace(k.write)); got != has {
				t.Errorf("set %b: %s: %t, want %t", set, k.name, got, has)
			}
		}
		if got := strings.Count(text, "(SELECT $"); got != parameters {
			t.Errorf("set %b: %d parameters, want %d", set, got, parameters)
		}
	}
	for i, w := range []Write{
		NewRun{}, NewRun{Place: Place{Queue: "q"}}, new(Schedule), &Schedule{Children: new(Children)}, new(Checkpoint), new(Failure), new(Take), new(Park), new(End),
		&End{ParentStep: "s"}, mark{}, &Checkpoint{Kind: AttributesStep}, NewSignal{},
	} {
		if got := len(arguments(w)); w.kind() != i || got != fields(kinds[i]) {
			t.Errorf("%T: kind %d with %d fields, want kind %d with %d", w, w.kind(), got, i, fields(kinds[i]))
		}
		alone := aloneText(kinds[i])
		if !strings.Contains(alone, strings.TrimSpace(kinds[i].write)) || !strings.Contains(alone, "$"+strconv.Itoa(fields(kinds[i]))+"::") {
			t.Errorf("%s alone is not what it is among others:\n%s", kinds[i].name, alone)
		}
	}
}
