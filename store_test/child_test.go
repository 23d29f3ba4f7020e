package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	osexec "os/exec"
	"testing"
)

// A job is what another process of a test does.
type job struct {
	Driver, URL, Run   string
	Goroutines, Rounds int
}

// startChildren runs this test program n times at once, each doing the job, and waits for all.
func startChildren(t *testing.T, n int, j job) {
	t.Helper()
	text, err := json.Marshal(j)
	must(t, err)
	program, err := os.Executable()
	must(t, err)
	for i, err := range together(n, func(int) error {
		var output bytes.Buffer
		cmd := osexec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), childVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
		cmd.Stdout, cmd.Stderr = &output, &output
		err := cmd.Run()
		if err != nil {
			t.Logf("%s", output.String())
		}
		return err
	}) {
		if err != nil {
			t.Fatalf("process %d: %v", i, err)
		}
	}
}

// child is main in such a process.
func child() error {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv(childVariable)), &j); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return j.incrementMany(ctx)
}
