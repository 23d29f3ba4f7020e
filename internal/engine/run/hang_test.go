package run

import (
	"slices"
	"testing"
)

// What hangs is reported ever less often, and not at the first look, when it may be about to end.
func TestReportsGrowRare(t *testing.T) {
	t.Parallel()
	var n reports
	var due []int
	for look := 1; look <= 40; look++ {
		if n.due() {
			due = append(due, look)
		}
	}
	if want := []int{2, 4, 8, 16, 32}; !slices.Equal(due, want) {
		t.Errorf("reported at looks %v, want %v", due, want)
	}
}
