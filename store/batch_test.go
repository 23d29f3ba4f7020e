package store

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

// A batch takes memory for the payloads that it has, wherever the longest stands.
func TestBatchTakesWhatItHas(t *testing.T) { //nolint:paralleltest // it counts allocated bytes
	rows := make([]Write, 512)
	for _, longest := range []int{0, len(rows) - 1} {
		bytes := 0
		for i := range rows {
			payload := json.RawMessage("1")
			if i == longest {
				payload = json.RawMessage(`"` + strings.Repeat("x", 64<<10) + `"`)
			}
			rows[i] = &Checkpoint{Owned: Owned{RunID: "0197e0a2-0000-7000-8000-000000000000", Epoch: 1}, Name: "step", Result: payload}
			bytes += Size(rows[i]) + 64
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b := newBatch(rows)
		args := b.args()
		runtime.ReadMemStats(&after)
		if allocated := int(after.TotalAlloc - before.TotalAlloc); allocated > 6*bytes || len(args) == 0 {
			t.Errorf("the longest is row %d: %d bytes for %d of rows", longest, allocated, bytes)
		}
	}
}
