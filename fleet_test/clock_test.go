package fleet_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Processes whose wall clocks are hours off execute runs together with right ones, take over from each other, and all
// that they write carries the database's time.
func TestWallClocksDoNotMatter(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("NOT RUN: a process with a wrong clock needs Linux on amd64")
	}
	f := setup(t)
	skews := []time.Duration{-3 * time.Hour, 5 * time.Hour, 0}
	processes := make([]*process, len(skews))
	for i, skew := range skews {
		processes[i] = f.spawn(job{Does: "journey", Skew: skew})
		if off := time.Unix(processes[i].clock, 0).Sub(time.Now().Add(skew)).Abs(); off > time.Minute {
			t.Fatalf("the clock of a process is %s from where it should be", off)
		}
	}
	svc := f.service(f.db, nil)
	var handles []*workflow.Handle[int]
	for n := range 60 {
		handle, err := journey(nil).Start(t.Context(), svc, n)
		kit.Must(t, err)
		handles = append(handles, handle)
	}
	for i := range 2 { // each wrong clock dies once, and is taken over by the other and by a right one
		kit.Until(t, "it executes a run", func() bool {
			return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE owner IS NOT NULL") > 0
		})
		processes[i].Kill()
		processes[i] = f.spawn(job{Does: "journey", Skew: skews[i]})
	}
	f.results(handles)
	f.verify()
	// All times of all rows, but those of the future, which are not far.
	if far := f.lines(`
		WITH times (what, ms) AS (
			SELECT 'created_at', created_at FROM workflows.workflow_runs
			UNION ALL SELECT 'updated_at', updated_at FROM workflows.workflow_runs
			UNION ALL SELECT 'step updated_at', updated_at FROM workflows.workflow_steps
			UNION ALL SELECT 'wake_at', wake_at FROM workflows.workflow_steps
			UNION ALL SELECT 'expires_at', expires_at FROM workflows.workflow_workers
			UNION ALL SELECT 'failure', (failure ->> 'at')::bigint
				FROM workflows.workflow_steps, jsonb_array_elements(attempts -> 'failures') AS failure
		)
		SELECT what || ' ' || ms FROM times WHERE abs(ms - extract(epoch FROM clock_timestamp()) * 1000) > 120000`); len(far) > 0 {
		t.Errorf("%d times are not the database's: %s", len(far), far[0])
	}
	for _, p := range processes {
		p.Terminate()
	}
}

// skewClock makes the wall clock of this process wrong by d, and leaves its monotonic one alone. Go reads both from the
// kernel's vDSO, code that is mapped into each process: here it is replaced by code that asks the kernel and adds d.
func skewClock(d time.Duration) error {
	memory, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return err
		}
		image := make([]byte, to-from)
		if _, err := memory.ReadAt(image, from); err != nil {
			return err
		}
		vdso, err := elf.NewFile(bytes.NewReader(image))
		if err != nil {
			return err
		}
		symbols, err := vdso.DynamicSymbols()
		if err != nil {
			return err
		}
		for _, symbol := range symbols {
			if symbol.Name == "__vdso_clock_gettime" {
				_, err := memory.WriteAt(clockCode(d), from+int64(symbol.Value))
				return err
			}
		}
	}
	return errors.New("no vDSO with a clock")
}

// clockCode is clock_gettime(clock, time) with d added when the clock is CLOCK_REALTIME, which is 0.
func clockCode(d time.Duration) []byte {
	code := []byte{
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 0x0d, // jnz past the addition
		0x48, 0xb9, // mov rcx, seconds
	}
	code = binary.LittleEndian.AppendUint64(code, uint64(d/time.Second))
	return append(code,
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // ret
	)
}
