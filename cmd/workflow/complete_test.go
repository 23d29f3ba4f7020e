package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A shell completes commands and flags, and what is in the database, if that is there.
func TestCompletion(t *testing.T) {
	t.Parallel()
	url, service := pendings(t, "order", "o1", "o2")
	kit.Must(t, service.EnsureQueue(t.Context(), workflow.Queue{Name: "images"}))
	w := workflow.Define("report", takeOrder)
	kit.Must(t, w.EnsureSchedule(t.Context(), service, workflow.Schedule{Name: "nightly", Cron: "@daily"}, 1))
	for _, test := range []struct{ url, typed, want string }{
		{url, "sho,", "show\tShow a run"},
		{url, "runs,--st,", "--status\t"},
		{url, "runs,--status,", "suspended\n"},
		{url, "runs,--suspended-for,", "by_hand\n"},
		{url, "show,", "o1\torder pending\n"},
		{url, "cancel,", "o2\torder pending\n"},
		{url, "queues,pause,", "images\n"},
		{url, "schedules,trigger,", "nightly\treport\n"},
		{"postgres://u:hunter2@127.0.0.1:1/d", "show,", ""},
		{"", "show,", ""},
	} {
		words := strings.Split(strings.TrimSuffix(test.typed, ","), ",")
		if last := words[len(words)-1]; last != "sho" && last != "--st" {
			words = append(words, "")
		}
		got := invoke(t.Context(), test.url, append([]string{"__complete"}, words...)...)
		if got.code != exitOK || !strings.Contains(got.stdout, test.want) || strings.Contains(got.stdout+got.stderr, "hunter2") {
			t.Errorf("%q: exit code %d, want %q\n%s%s", words, got.code, test.want, got.stdout, got.stderr)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		script := invoke(t.Context(), "", "completion", shell)
		if script.code != exitOK || !strings.Contains(script.stdout, "workflow") {
			t.Errorf("%s: exit code %d\n%s", shell, script.code, script.stderr)
		}
		if path, err := exec.LookPath(shell); err == nil && shell == "bash" {
			check := exec.CommandContext(t.Context(), path, "-n")
			check.Stdin = strings.NewReader(script.stdout)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", shell, err, out)
			}
		}
	}
}
