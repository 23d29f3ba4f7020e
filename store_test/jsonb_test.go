package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// corpus is where JSON and JSONB part, and around it.
var corpus = []string{
	`"\ud800"`, `"\u0000"`, `1e131072`, `1e-20000`, `{"b":1,"a":1.0,"a":2}`, `-0`, `1e3`,
	`"\ud83d\ude00"`, `"\ud83d\ud83d"`, `"\ude00"`, `"\\u0000"`, `"\\ud800"`, `"\\\u0000"`, `{"\u0000":1}`, `"\uDBFF\uDFFF"`,
	`1e131071`, `12e131070`, `0.1e131072`, `1e-16383`, `1e-16384`, `10e-16384`, `1.5e-16383`, `0e-16383`, `0e131072`, `0e1000000`,
	`-1e131072`, `1E+131071`, `1E-00016383`, `1e99999999999999999999`, `[1,-1.5e10,"x",null,true,{}]`,
	"\"\x7f\u0080\u2028\uffff\U0010ffff\"", "\"\x01\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\ufeff1", "\v1", "1 \t\r\n", ``, ` `,
	`01`, `-`, `.5`, `5.`, `1e`, `1e+`, `--1`, `+1`, `NaN`, `"a`, `{"a"}`, `[1,]`, `{,}`, `tru`, `"\x"`, `"\u12"`,
	strings.Repeat("[", 1000) + strings.Repeat("]", 1000), strings.Repeat("[", 1001) + strings.Repeat("]", 1001),
	strings.Repeat("9", 131072), strings.Repeat("9", 131073), "0." + strings.Repeat("9", 16383), "0." + strings.Repeat("9", 16384),
}

// judge has a text taken or refused by the library, and says whether the server alone would take it. A text that the
// library takes and the server refuses would abort the application's transaction.
func judge(ctx context.Context, svc *workflow.Service, db *sql.DB, text string) (taken, servable bool, err error) {
	_, err = svc.CreateRun(ctx, "w", json.RawMessage(text))
	switch {
	case err == nil:
		taken = true
	case !errors.Is(err, workflow.ErrInvalidArgument):
		return false, false, fmt.Errorf("%.80q was not refused before the server: %w", text, err)
	}
	if strings.ContainsRune(text, 0) {
		return taken, false, nil // no driver can send it
	}
	err = db.QueryRowContext(ctx, `SELECT $1::jsonb IS NOT NULL`, text).Scan(&servable)
	if state := kit.SQLState(err); err != nil && !strings.HasPrefix(state, "22") && !strings.HasPrefix(state, "54") {
		return taken, false, err
	}
	return taken, servable, nil
}

// The library takes nothing that the server would refuse, and refuses little that the server would take: deep nesting,
// and a zero before the point with a huge exponent after it.
func TestPayloadsAgainstServer(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.PGX)
	seed := rand.Uint64()
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	texts := slices.Clone(corpus)
	for range 1200 {
		texts = append(texts, g.value(3))
	}
	for range 150 {
		texts = append(texts, g.longNumber())
	}
	const workers = 4
	counts := make([]int, workers)
	for _, err := range kit.Together(workers, func(w int) error {
		for i := w; i < len(texts); i += workers {
			taken, servable, err := judge(t.Context(), b.svc, b.side, texts[i])
			if err != nil {
				return err
			}
			if taken && !servable {
				return fmt.Errorf("the server refuses %.200q", texts[i])
			}
			if servable && !taken && !deep(texts[i]) && !zeroFirst.MatchString(texts[i]) {
				return fmt.Errorf("refused, though the server takes %.200q", texts[i])
			}
			if taken {
				counts[w]++
			}
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if taken := counts[0] + counts[1] + counts[2] + counts[3]; taken < len(texts)/10 || taken > len(texts)*9/10 {
		t.Errorf("%d of %d texts were taken: the generator is of no use", taken, len(texts))
	}
}

func deep(text string) bool { return strings.Count(text, "[")+strings.Count(text, "{") > 1000 }

// zeroFirst finds numbers such as 0e200000 and 0.001e131073, whose size the library takes for larger than it is.
var zeroFirst = regexp.MustCompile(`0(\.\d+)?[eE]\+?0*[1-9]\d{4}`)

// A generator makes JSON texts, some of which are not quite JSON or not quite JSONB.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) value(depth int) string {
	kind := g.IntN(10)
	switch {
	case kind < 4:
		return g.number()
	case kind < 7 || depth == 0:
		return g.text()
	case kind < 8:
		return pick(g, "null", "true", "false", " 1", "[]", "{}", "nil", "{1:2}")
	}
	var parts []string
	object := g.IntN(2) == 0
	for range g.IntN(3) + 1 {
		part := g.value(depth - 1)
		if object {
			part = g.text() + pick(g, ":", " :\n ") + part
		}
		parts = append(parts, part)
	}
	if object {
		return "{" + strings.Join(parts, ",") + "}"
	}
	return "[" + strings.Join(parts, " , ") + "]"
}

func (g generator) text() string {
	var s strings.Builder
	s.WriteByte('"')
	for range g.IntN(5) {
		s.WriteString(pick(g, "a", "é", "😀", " ", "/", `\/`, `\\`, `\"`, `\n`, `\u00e9`, `\u0001`, `\ud83d\ude00`, `\uD83D\uDE00`, "\x7f", "u0000"))
		if g.IntN(12) == 0 {
			s.WriteString(pick(g, `\u0000`, `\ud83d`, `\ude00`, `\udfff\udbff`, `\ud800\u0041`, `\`, `\x`, `\u00`, "\x01", "\xff", "\n"))
		}
	}
	s.WriteByte('"')
	return s.String()
}

// number is short, yet near what numeric can hold.
func (g generator) number() string {
	s := pick(g, "", "", "-")
	s += pick(g, "0", "1", "9", "10", "12345", "90071992547409931234")
	if g.IntN(3) == 0 {
		s += "." + pick(g, "0", "5", "00001", "123456789", "10")
	}
	if g.IntN(2) == 0 {
		s += pick(g, "e", "E") + pick(g, "", "+", "-", "-0", "00")
		s += fmt.Sprint(pick(g, 0, 1, 16383, 131071, 1_000_000, 2_147_483_647, 5_000_000_000) + g.IntN(9) - 4)
	}
	return s // a negative number behind a sign is no JSON, which is welcome
}

func (g generator) longNumber() string {
	s := pick(g, "", "-") + pick(g, "1", "9") + strings.Repeat(pick(g, "0", "9"), pick(g, 0, 5, 131070, 131071, 131072))
	if g.IntN(2) == 0 {
		s += "." + strings.Repeat(pick(g, "0", "7"), pick(g, 1, 16382, 16383, 16384))
	}
	if g.IntN(2) == 0 {
		s += "e" + fmt.Sprint(pick(g, -16384, -16383, -16382, -131072, -1, 0, 1, 5, 114687, 114689, 131066))
	}
	return s
}

// FuzzPayload looks for a text that the library takes and the server refuses.
func FuzzPayload(f *testing.F) {
	for _, text := range corpus {
		if len(text) < 4096 { // the long ones are in TestPayloadsAgainstServer
			f.Add(text)
		}
	}
	database := pgtest.New(f)
	db := database.Open(f, pgtest.PGX)
	svc, err := workflow.New(workflow.Config{DB: db})
	kit.Must(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		taken, servable, err := judge(t.Context(), svc, db, text)
		kit.Must(t, err)
		if taken && !servable {
			t.Errorf("the server refuses %q", text)
		}
	})
}
