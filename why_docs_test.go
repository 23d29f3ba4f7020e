package workflow_test

import (
	"regexp"
	"strings"
	"testing"
)

var whyCode = regexp.MustCompile(`WhyCode = "(\w+)"`)

// Each answer stands in docs/operations.md, with what to do.
func TestWhyIsDocumented(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(document(t, "docs/operations.md"), "\n## Why does a run not move?\n")
	section, _, _ = strings.Cut(section, "\n## ")
	codes := whyCode.FindAllStringSubmatch(document(t, "why.go"), -1)
	if len(codes) < 20 {
		t.Fatalf("found %d codes", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(section, "\n| `"+code[1]+"` | ") {
			t.Errorf("%q is not in the table", code[1])
		}
	}
	if rows := strings.Count(section, "\n| `"); rows != len(codes) {
		t.Errorf("the table has %d rows for %d codes", rows, len(codes))
	}
}
