package notify

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a process tells arrives as it was told, once each.
func TestMessageArrives(t *testing.T) {
	t.Parallel()
	var d draft
	d.work = true
	d.name(&d.runs, "b")
	d.name(&d.runs, `a"\<é`)
	d.name(&d.runs, "b")
	d.name(&d.lost, "c")
	payload, err := d.payload("me")
	if err != nil {
		t.Fatal(err)
	}
	got, ok := parse(payload)
	want := Message{From: "me", Work: true, Runs: []string{`a"\<é`, "b"}, Lost: []string{"c"}}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%s (-want +got):\n%s", payload, diff)
	}
}

// However many runs there is news about, and whatever their names, the server takes the payload.
func TestPayloadIsBounded(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{
		"short": "r%d", "long": strings.Repeat("x", 250) + "%d", "escaped": strings.Repeat("\x01", 250) + "%d",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d draft
			longest, named := 0, 0
			for i := range 5000 {
				d.name(&d.runs, fmt.Sprintf(id, i))
				d.name(&d.lost, fmt.Sprintf(id, i))
				payload, err := d.payload("0123456789abcdef")
				if err != nil {
					t.Fatal(err)
				}
				longest = max(longest, len(payload))
				named = max(named, len(d.runs))
				if d.all && i > 3000 {
					break
				}
			}
			if longest > maxPayload {
				t.Errorf("a payload has %d bytes, want at most %d", longest, maxPayload)
			}
			if !d.all || len(d.runs)+len(d.lost) > 0 {
				t.Errorf("too many runs were not given up for a word: %d, %d", len(d.runs), len(d.lost))
			}
			if longest < maxPayload/2 || named == 0 {
				t.Errorf("given up at %d bytes, %d runs", longest, named)
			}
		})
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		"", "work", "{", "[]", "null", "7", `{"from":7}`, `{"work":true}`, `{"from":"x","runs":"y"}`, `{"from":""}`,
	} {
		if m, ok := parse(payload); ok {
			t.Errorf("%q is taken for %+v", payload, m)
		}
	}
	if m, ok := parse(`{"from":"x","of a later release":[1]}`); !ok || m.From != "x" {
		t.Error("what another release adds makes a message none")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"from":"x","work":true,"runs":["a"],"lost":["b"],"all":true}`)
	f.Fuzz(func(t *testing.T, payload string) {
		if m, ok := parse(payload); ok && m.From == "" {
			t.Errorf("%q has no sender", payload)
		}
	})
}

// Channels are identifiers, and differ where schemas do.
func TestChannel(t *testing.T) {
	t.Parallel()
	if got := Channel("workflows"); got != "sqlworkflow_workflows" {
		t.Errorf("channel %q", got)
	}
	long := strings.Repeat("s", 62)
	seen := make(map[string]string)
	for _, schema := range []string{"workflows", "w", strings.Repeat("s", 51), strings.Repeat("s", 52), long + "a", long + "b"} {
		channel := Channel(schema)
		if len(channel) > 63 {
			t.Errorf("channel %q of schema %q has %d bytes", channel, schema, len(channel))
		}
		if other, taken := seen[channel]; taken {
			t.Errorf("schemas %q and %q share channel %q", schema, other, channel)
		}
		seen[channel] = schema
	}
}
