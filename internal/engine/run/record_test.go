package run

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/store"
)

// A plain step shares its details with all others and is small; nothing of any other step is lost, and its WakeIn counts from when it was
// loaded.
func TestRecordOf(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1)
	plain := store.Step{Name: "n", Status: store.StepSucceeded, Kind: store.TxStep, Seq: 3, Result: json.RawMessage("1"), UpdatedAt: at, StartedAt: at}
	if r := recordOf(&plain, at); r.details != none || r.Name != "n" || r.Kind != store.TxStep || r.Seq != 3 || string(r.Result) != "1" || !r.hasEnded() {
		t.Errorf("%+v", r)
	}
	if size := unsafe.Sizeof(record{}); size > 96 {
		t.Errorf("a record has %d bytes", size)
	}
	failed := &store.Error{Message: "m"}
	for name, step := range map[string]store.Step{
		"an error": {Err: failed}, "attempts": {Attempts: new(store.Attempts)}, "a time": {WakeAt: at}, "a wait": {WakeIn: time.Second},
		"a request": {Request: json.RawMessage("2")}, "a child": {ChildID: "c"}, "a signal": {SignalSeq: 4},
	} {
		r := recordOf(&step, at)
		got := store.Step{
			Err: r.Err, Attempts: r.Attempts, WakeAt: r.WakeAt, WakeIn: r.WakeIn, Request: r.Request, ChildID: r.ChildID, SignalSeq: r.SignalSeq,
		}
		if diff := cmp.Diff(step, got); diff != "" || !r.at.Equal(at) {
			t.Errorf("%s, loaded at %s: %s", name, r.at, diff)
		}
		if now := newRecord(step); time.Since(now.at) > time.Hour {
			t.Errorf("%s: written at %s", name, now.at)
		}
	}
	if !reflect.ValueOf(*none).IsZero() {
		t.Errorf("plain steps have %+v", *none)
	}
}
