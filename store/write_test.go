package store

import (
	"strings"
	"testing"
)

func TestArray(t *testing.T) {
	t.Parallel()
	var a array
	if got := a.literal(); got != "{}" {
		t.Errorf("nothing: %s", got)
	}
	for _, value := range []any{"", "null", `a "quote" and a \`, int64(-3), nil, "{x,y}"} {
		a.add(value)
	}
	want := `{"","null","a \"quote\" and a \\",-3,NULL,"{x,y}"}`
	if got := a.literal(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A statement has the parts of its set alone, and numbers its parameters through.
func TestGroupedText(t *testing.T) {
	t.Parallel()
	fields := func(i int) int { return strings.Count(parts[i].fields, ",") + 1 }
	for set := 1; set < 1<<len(parts); set++ {
		text, parameters := groupedText(set), 0
		for i, p := range parts {
			has := set&(1<<i) != 0
			if has {
				parameters += fields(i)
			}
			if got := strings.Contains(text, strings.TrimSpace(p.write)); got != has {
				t.Errorf("set %b: part %q: %t, want %t", set, p.op, got, has)
			}
		}
		if got := strings.Count(text, "(SELECT $"); got != parameters {
			t.Errorf("set %b: %d parameters, want %d", set, got, parameters)
		}
	}
	for i, w := range []Write{NewRun{}, Checkpoint{}, End{}} {
		if got := len(w.row()); partOf(w) != i || got != fields(i) {
			t.Errorf("%T: part %d with %d fields, want part %d with %d", w, partOf(w), got, i, fields(i))
		}
	}
}
