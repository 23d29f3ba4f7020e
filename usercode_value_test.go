package workflow_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// verbatim keeps its JSON as it was told.
type verbatim struct{ text string }

func (v verbatim) MarshalJSON() ([]byte, error) { return []byte(v.text), nil }

func (v *verbatim) UnmarshalJSON(text []byte) error {
	v.text = string(bytes.Clone(text))
	return nil
}

// fields has a field whose name can be met in two spellings: the last one counts.
type fields struct{ A int }

func (f fields) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `{"a":%d,"A":1}`, f.A), nil }

const unordered = `{ "b":1.0, "a":1e3, "b":2, "long":-0 }`

// values by name, in both ways to see them: as what they are, and in a test that compares their first and second appearance.
var values = map[string]func(*bench, string){
	"raw":              appears(json.RawMessage(unordered)),
	"raw null":         appears(json.RawMessage(" null ")),
	"number":           appears(json.Number("1e3")),
	"number, capital":  appears(json.Number("1E+05")),
	"negative zero":    appears(json.Number("-0")),
	"float":            appears(math.Copysign(0, -1)),
	"large float":      appears(1e300),
	"map of raws":      appears(map[string]json.RawMessage{"x": json.RawMessage(unordered), "y": json.RawMessage("1e2")}),
	"map of any":       appears(map[string]any{"x": json.RawMessage(unordered), "n": json.Number("1e3"), "f": 1e21}),
	"any":              appears[any](json.RawMessage(unordered)),
	"slice of numbers": appears([]json.Number{"1e1", "1.50", "10"}),
	"struct": appears(struct {
		Raw    json.RawMessage
		Number json.Number
		Any    any
		At     time.Time
		Bytes  []byte
	}{json.RawMessage(unordered), "0.10e2", json.Number("1e3"), time.Unix(1, 500).UTC(), []byte("<&>")}),
	"pointer":               appears(&struct{ Raw *json.RawMessage }{raw(unordered)}),
	"own methods":           appears(verbatim{unordered}),
	"own methods, a string": appears(verbatim{`"\u003c\u00e9\/"`}),
	"two spellings":         appears(fields{A: 2}),
}

func raw(text string) *json.RawMessage {
	m := json.RawMessage(text)
	return &m
}

// show tells a value in full.
func show(v any) string {
	text, err := json.Marshal(v)
	return fmt.Sprintf("%T %s %s %v", v, v, text, err)
}

// appears returns a check that input, results and output look the same whenever the workflow's function or a caller sees
// them: at first, when they are replayed, in this process and elsewhere.
func appears[T any](v T) func(*bench, string) {
	return func(b *bench, name string) {
		var mu sync.Mutex
		seen := make(map[string][]string)
		see := func(what string, v any) {
			mu.Lock()
			defer mu.Unlock()
			if p, ok := v.(*struct{ Raw *json.RawMessage }); ok && p != nil && p.Raw != nil {
				v = string(*p.Raw) // not its address
			}
			seen[what] = append(seen[what], show(v))
		}
		w := workflow.Define(name, func(ctx context.Context, in T) (T, error) {
			see("input", in)
			plain, err := workflow.Do(ctx, "plain", value(v))
			if err != nil {
				return plain, err
			}
			see("plain step", plain)
			tx, err := workflow.DoTx(ctx, "tx", func(context.Context, *sql.Tx) (T, error) { return v, nil })
			if err != nil {
				return tx, err
			}
			see("transactional step", tx)
			flaky, err := workflow.Do(ctx, "flaky", func(ctx context.Context) (T, error) {
				if workflow.Attempt(ctx) == 1 {
					return v, fmt.Errorf("once")
				}
				return v, nil
			}, quickly(2))
			if err != nil {
				return flaky, err
			}
			see("step of a second attempt", flaky)
			if err := workflow.Sleep(ctx, "so that all is replayed", 200*time.Millisecond); err != nil {
				return v, err
			}
			return v, nil
		})
		b.svc.Register(w)
		handle, err := w.Start(b.t.Context(), b.svc, v)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, h := range []*workflow.Handle[T]{handle, w.Handle(b.svc, handle.RunID()), w.Handle(b.service(), handle.RunID())} {
			out, err := h.Result(kit.Within(b.t, 20*testLease))
			if err != nil {
				b.t.Fatal(err)
			}
			see("output", out)
		}
		for what, times := range seen {
			if len(times) < 2 {
				b.t.Errorf("%s was seen only once", what)
			}
			for _, again := range times[1:] {
				if diff := cmp.Diff(times[0], again); diff != "" {
					b.t.Errorf("%s (-first +later):\n%s", what, diff)
				}
			}
		}
	}
}

func TestValuesAreTheSameWhenReplayed(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	b.svc = b.service(parking)
	kit.Work(t, b.svc)
	if _, _, err := run(b, "warm", func(context.Context, int) (int, error) { return 0, nil }); err != nil {
		t.Fatal(err)
	}
	t.Run("of type", func(t *testing.T) { // started in this process, now that the worker has looked around
		for name, check := range values {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				check(b.with(t), name)
			})
		}
	})
}
