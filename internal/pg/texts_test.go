package pg_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestTextArray(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		db := pgtest.New(t).Open(t, access)
		for _, want := range [][]string{nil, {}, {"signal:bank"}, {"", "null", "NULL"}, {`a "quote"`, `\`, "{x,y}", " b ", "Zoë\n"}} {
			var given any
			if want != nil {
				given = pg.Texts(want)
			}
			got := pg.TextArray{"before"}
			kit.Must(t, db.QueryRowContext(t.Context(), "SELECT $1::text[]", given).Scan(&got))
			if diff := cmp.Diff(want, []string(got)); diff != "" {
				t.Errorf("%v (-want +got):\n%s", access, diff)
			}
		}
	}
	for _, literal := range []any{"", "{", "}", `{"a`, `{"a"b}`, `{"a\`, 7} {
		if err := new(pg.TextArray).Scan(literal); err == nil {
			t.Errorf("%v is taken for an array", literal)
		}
	}
}

// Whatever array of texts the server has comes back as it is.
func FuzzTextArray(f *testing.F) {
	for _, seed := range []string{"", "null", "NULL", `"`, `\`, "{}", "a,b", " ", "\n\t", "Zoë"} {
		f.Add(seed, "b")
	}
	db := pgtest.New(f).Open(f, pgtest.PGX)
	f.Fuzz(func(t *testing.T, first, second string) {
		if text := first + second; !utf8.ValidString(first) || !utf8.ValidString(second) || strings.ContainsRune(text, 0) {
			return // refused before it comes here
		}
		var got pg.TextArray
		kit.Must(t, db.QueryRowContext(t.Context(), "SELECT ARRAY[$1::text, $2]", first, second).Scan(&got))
		if diff := cmp.Diff([]string{first, second}, []string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
