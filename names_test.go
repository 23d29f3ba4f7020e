package workflow

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckNames(t *testing.T) {
	t.Parallel()
	checks := map[string]func(string) error{"run id": checkRunID, "workflow": checkWorkflowName, "step": checkStepName, "key": checkStepKey}
	for _, test := range []struct {
		name  string
		taken string // by which checks
	}{
		{"a", "run id, workflow, step, key"},
		{" ", "run id, workflow, step, key"},
		{"é😀", "run id, workflow, step, key"},
		{"a'\"\\;--", "run id, workflow, step, key"},
		{"a#1", "run id, workflow, key"},
		{"a/b", "run id, workflow, key"},
		{"", ""},
		{"\x00", ""},
		{"a\x00", ""},
		{"\xff", ""},
		{"\xed\xa0\x80", ""},
		{strings.Repeat("x", 255), "run id, workflow, step, key"},
		{strings.Repeat("x", 256), "step, key"},
		{strings.Repeat("é", 128), "step, key"},
		{strings.Repeat("x", 1024), "step, key"},
		{strings.Repeat("x", 1025), ""},
	} {
		for kind, check := range checks {
			err := check(test.name)
			if taken := strings.Contains(", "+test.taken+",", ", "+kind+","); taken != (err == nil) {
				t.Errorf("%s %.20q: error = %v, want taken: %t", kind, test.name, err, taken)
			}
			if err != nil && !errors.Is(err, ErrInvalidArgument) {
				t.Errorf("%s %.20q: error = %v, want ErrInvalidArgument", kind, test.name, err)
			}
		}
	}
}

// What is taken is text that PostgreSQL stores, and the message about what is not is readable and short.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"", "a", "a#1", "b/a", "\x00", "\xff", "é", strings.Repeat("é", 128), strings.Repeat("é", 513)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		storable := name != "" && utf8.ValidString(name) && strings.IndexByte(name, 0) < 0
		for _, test := range []struct {
			kind  string
			err   error
			taken bool
		}{
			{"run id", checkRunID(name), storable && len(name) <= 255},
			{"workflow name", checkWorkflowName(name), storable && len(name) <= 255},
			{"step name", checkStepName(name), storable && len(name) <= 1024 && !strings.ContainsAny(name, "#/")},
			{"step name", checkStepKey(name), storable && len(name) <= 1024},
		} {
			if test.taken != (test.err == nil) {
				t.Errorf("%s %q: error = %v, want taken: %t", test.kind, name, test.err, test.taken)
			}
			if test.err == nil {
				continue
			}
			message := test.err.Error()
			if !errors.Is(test.err, ErrInvalidArgument) || !strings.Contains(message, test.kind) {
				t.Errorf("error %q does not say which name is bad", message)
			}
			if !utf8.ValidString(message) || strings.ContainsAny(message, "\x00\n") {
				t.Errorf("error %q is not fit for a log", message)
			}
		}
	})
}
