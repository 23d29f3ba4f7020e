package store

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestSameJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{`1`, `1`, true}, {`1`, `1.0`, true}, {`1e3`, `1000`, true}, {`-0`, `0`, true}, {`0.10`, `1E-1`, true}, {`1`, `-1`, false},
		{`12345678901234567890`, `12345678901234567891`, false}, {`0.1`, `0.10000000000000001`, false}, {`100`, `1`, false},
		{`{"a": 1, "b": [true, null]}`, `{"b":[true,null],"a":1.0}`, true}, {`{"a": 2}`, `{"a": 1, "a": 2}`, true},
		{`{"a": 1}`, `{}`, false}, {`[1, 2]`, `[2, 1]`, false}, {`[]`, `{}`, false}, {`"1"`, `1`, false}, {`null`, `false`, false},
		{`"é"`, `"\u00e9"`, true}, {`null`, ``, false}, {``, ``, true}, {`{`, `[`, false},
	} {
		payload := func(text string) json.RawMessage {
			if text == "" {
				return nil
			}
			return json.RawMessage(text)
		}
		if got := sameJSON(payload(test.a), payload(test.b)); got != test.want {
			t.Errorf("%s and %s: same %t, want %t", test.a, test.b, got, test.want)
		}
		if got := sameJSON(payload(test.b), payload(test.a)); got != test.want {
			t.Errorf("%s and %s: same %t, want %t", test.b, test.a, got, test.want)
		}
	}
}

// Whether two payloads are the same is answered here as PostgreSQL answers it of JSONB.
func FuzzSameJSON(f *testing.F) {
	for _, seed := range [][2]string{
		{`1`, `1.0`}, {`1e3`, `1000`}, {`-0`, `0`}, {`{"a":1,"b":2}`, `{"b":2,"a":1}`}, {`{"a":1,"a":2}`, `{"a":2}`}, {`[1e-5]`, `[0.00001]`},
		{`"a"`, `"\u0061"`}, {`1E+2`, `100`}, {`{"":{}}`, `{"":[]}`}, {`123456789012345678901234567890`, `123456789012345678901234567890.0`},
	} {
		f.Add(seed[0], seed[1])
	}
	db := pgtest.Empty(f).Open(f, pgtest.PGX)
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) || !json.Valid([]byte(a)) || !json.Valid([]byte(b)) {
			return // refused before it comes here
		}
		var stored string
		var want bool
		err := db.QueryRowContext(t.Context(), `SELECT a::text, a = b FROM (SELECT $1::text::jsonb, $2::text::jsonb) AS input (a, b)`, a, b).Scan(&stored, &want)
		if err != nil {
			return // the server refuses it
		}
		if got := sameJSON(json.RawMessage(stored), json.RawMessage(b)); got != want {
			t.Errorf("%s (stored as %s) and %s: same %t, and as JSONB %t", a, stored, b, got, want)
		}
	})
}
