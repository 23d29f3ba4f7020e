package migrations

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var (
	// ErrSchemaTooNew is returned when the schema was migrated by a newer release that this one cannot work beside.
	ErrSchemaTooNew = errors.New("migrations: the schema needs a newer release of the library")

	// ErrDrift is returned when tables are not as the recorded migrations left them, or stand where a
	// migration is about to create one. Nothing has been changed. [Adopt] takes over documented tables.
	ErrDrift = errors.New("migrations: the tables are not those of the recorded migrations")
)

// required lists every column and the migration that adds it; a table comes with its first entry.
var required = []struct {
	version int64
	table   string
	columns string
}{
	{1, "workflow_runs", "id workflow status input output error created_at updated_at"},
	{1, "workflow_steps", "run_id step_name status result error updated_at"},
	{2, "workflow_schema", "singleton needs_version"},
	{2, "workflow_workers", "id expires_at started_at pid host version workflows queues hanging"},
	{3, "workflow_runs", "epoch run_at deadline_at progress_at blocked_at dispatched_at take_overs wake_seq priority owner" +
		" suspended_for waits_for queue partition_key unique_key parent_id parent_step version meta"},
	{3, "workflow_steps", "wake_at started_at seq waiting kind attempts child_id"},
	{4, "workflow_signals", "seq sent_at run_id name key payload"},
	{4, "workflow_runs", "depth abandoned"},
	{4, "workflow_steps", "signal_seq request"},
	{5, "workflow_queues", "created_at updated_at paused_at rate_window rate_count rate_burst max_running max_per_worker" +
		" max_per_partition name"},
	{5, "workflow_queue_turns", "seq free_at queue"},
	{6, "workflow_schedules", "created_at updated_at paused_at resumed_at next_at last_at every catch_up jitter deadline" +
		" started missed overlapped paused taken" +
		" priority name workflow cron zone overlap queue partition_key last_run_id input"},
	{7, "workflow_attributes", "created_at run_id name value"},
}

// check compares the state with what its version promises.
func (s *state) check() error {
	if s.needs > Latest() {
		return fmt.Errorf("%w: schema %s is at version %d and needs a library with migration %d, this one ends at %d",
			ErrSchemaTooNew, s.schema, s.version(), s.needs, Latest())
	}
	created := make(map[string]bool)
	var problems []string
	for _, r := range required {
		first := !created[r.table]
		created[r.table] = true
		if problem := s.compare(r.version, r.table, strings.Fields(r.columns), first); problem != "" {
			problems = append(problems, problem)
		}
	}
	if problems == nil {
		return nil
	}
	advice := ""
	if s.version() == 0 && s.has("workflow_runs") && s.has("workflow_steps") {
		advice = " (tables that are as documented but were made in another way can be adopted: migrations.Adopt, or workflow migrate adopt)"
	}
	return fmt.Errorf("%w: %s%s", ErrDrift, strings.Join(problems, "; "), advice)
}

// compare returns what is wrong with the columns that a migration adds to a table, "" when nothing is.
func (s *state) compare(version int64, table string, columns []string, creates bool) string {
	name := s.schema + "." + table
	missing := slices.DeleteFunc(columns, func(c string) bool { return slices.Contains(s.relations[table], c) })
	_, applied := s.applied[version]
	switch {
	case applied && !s.has(table):
		return fmt.Sprintf("table %s is missing, though migration %d is recorded", name, version)
	case applied && len(missing) > 0:
		return fmt.Sprintf("table %s lacks %s, though migration %d is recorded", name, columnList(missing), version)
	case !applied && creates && s.has(table) && len(missing) > 0:
		return fmt.Sprintf("%s exists before migration %d, which creates it, and lacks %s", name, version, columnList(missing))
	case !applied && creates && s.has(table):
		return fmt.Sprintf("%s exists before migration %d, which creates it", name, version)
	}
	return ""
}

func columnList(names []string) string {
	if len(names) == 1 {
		return "column " + names[0]
	}
	return "columns " + strings.Join(names, ", ")
}
