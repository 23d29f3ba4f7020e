package pg_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestArray(t *testing.T) {
	t.Parallel()
	var a pg.Array
	if got := a.Literal(); got != "{}" {
		t.Errorf("nothing: %s", got)
	}
	for _, value := range []any{"", "null", `a "quote" and a \`, int64(-3), nil, "{x,y}"} {
		a.Add(value)
	}
	want := `{"","null","a \"quote\" and a \\",-3,NULL,"{x,y}"}`
	if got := a.Literal(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Whatever text can be stored comes back from an array as it went in.
func FuzzArray(f *testing.F) {
	for _, seed := range []string{"", "null", "NULL", `"`, `\`, "{}", "a,b", " ", "\n\t", "Zoë", "{\"a\": \"\\\"\"}"} {
		f.Add(seed, "b")
	}
	db := pgtest.New(f).Open(f, pgtest.PGX)
	f.Fuzz(func(t *testing.T, first, second string) {
		want := []string{first, second}
		if text := first + second; !utf8.ValidString(first) || !utf8.ValidString(second) || strings.ContainsRune(text, 0) {
			return // refused before it comes here
		}
		var a pg.Array
		a.Add(first)
		a.Add(nil)
		a.Add(second)
		got := make([]string, 2)
		var none *string
		err := db.QueryRowContext(t.Context(), "SELECT given[1], given[2], given[3] FROM (SELECT $1::text[]) AS input (given)", a.Literal()).
			Scan(&got[0], &none, &got[1])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || none != nil {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
