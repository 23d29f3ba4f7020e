package write

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/store"
)

func (w *Writer) gather(rows ...store.Write) {
	for _, row := range rows {
		w.waiting = append(w.waiting, newPending(row))
	}
}

// A batch is bounded in rows and in bytes.
func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	payload := func(n int) json.RawMessage { return json.RawMessage(strings.Repeat("1", n)) }
	w := new(Writer) // whose flush is played by the test
	for range maxBatch + 1 {
		w.gather(new(store.Checkpoint))
	}
	w.gather(
		&store.Checkpoint{Result: payload(maxBatchBytes)}, &store.End{Output: payload(maxBatchBytes + 1)},
		store.NewRun{Input: payload(maxBatchBytes / 2)}, &store.End{Output: payload(maxBatchBytes / 2)}, &store.End{Output: payload(1)},
	)
	for i, want := range []int{maxBatch, 2, 1, 2, 1, 0} {
		if got := len(w.next()); got != want {
			t.Errorf("batch %d: %d rows, want %d", i, got, want)
		}
		if w.sending != 0 && want > 0 || w.sending != -1 && want == 0 {
			t.Errorf("batch %d: %d are under way", i, w.sending)
		}
	}
}
