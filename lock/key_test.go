package lock_test

import (
	"math/big"
	"testing"

	"github.com/sqlworkflow/workflow/lock"
)

// Processes of different releases must agree on the keys: a change here breaks rolling deploys. The
// values were computed with another implementation (Python's hashlib).
func TestNewKeyGolden(t *testing.T) {
	t.Parallel()
	tests := []struct {
		parts [4]string
		want  string
	}{
		{[4]string{"", "", "", ""}, "66687aadf862bd77"},
		{[4]string{"sqlworkflow", "workflows", "run", "018f5b1e-0000-7000-8000-000000000000"}, "1be5919becab1372"},
		{[4]string{"sqlworkflow", "", "migrations", ""}, "27ec9062e6dbc521"},
		{[4]string{"shop", "público", "cart", "a\x00b"}, "f7e17bbfb773aaa2"},
	}
	for _, test := range tests {
		p := test.parts
		if got := lock.NewKey(p[0], p[1], p[2], p[3]).String(); got != test.want {
			t.Errorf("NewKey(%q) = %s, want %s", p, got, test.want)
		}
	}
}

func TestKeyUsesWholeRange(t *testing.T) {
	t.Parallel()
	negative := 0
	for i := range 100 {
		if lock.NewKey("", "", "", string(rune('a'+i))) < 0 {
			negative++
		}
	}
	if negative < 20 || negative > 80 {
		t.Errorf("%d of 100 keys are negative", negative)
	}
}

// Keys are equal if and only if all parts are: moving a byte between parts makes another key.
func FuzzNewKey(f *testing.F) {
	f.Add("a", "b", "c", "d", "a", "b", "cd", "")
	f.Add("", "", "", "ab", "", "", "a", "b")
	f.Add("x", "y", "z", "1", "x", "y", "z", "1")
	f.Add("\x00", "", "", "", "", "\x00", "", "")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i string) {
		same := [4]string{a, b, c, d} == [4]string{e, g, h, i}
		if k, l := lock.NewKey(a, b, c, d), lock.NewKey(e, g, h, i); (k == l) != same {
			t.Errorf("%q → %s, %q → %s", []string{a, b, c, d}, k, []string{e, g, h, i}, l)
		}
		k := lock.NewKey(a, b, c, d)
		n, ok := new(big.Int).SetString(k.String(), 16)
		if !ok || n.Uint64() != uint64(k) {
			t.Errorf("String of %d = %s", int64(k), k)
		}
	})
}
