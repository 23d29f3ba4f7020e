package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow"
)

type overviewView struct {
	Windows   []window
	Of        string // which runs are counted
	Cut       bool
	Tiles     []tile
	Attention []attention
	Ended     chart
	Failed    chart
	Queues    []queueBar
	Workflows []workflowRow
	Failures  []runRow
}

// A window is how far back an overview looks.
type window struct {
	Key, Label    string
	within, every time.Duration
	Chosen        bool
}

var windows = []window{
	{Key: "1h", Label: "1 hour", within: time.Hour, every: time.Minute},
	{Key: "24h", Label: "24 hours", within: 24 * time.Hour, every: 30 * time.Minute},
	{Key: "7d", Label: "7 days", within: 7 * 24 * time.Hour, every: 3 * time.Hour},
}

// A tile is a number of runs, and where they are listed.
type tile struct{ Label, Kind, Count, To string }

// A workflowRow is what has become of the runs of one workflow.
type workflowRow struct {
	Name, To string
	Counts   []tile
	all      int
}

// workflowsShown and failuresShown are how many an overview has.
const (
	workflowsShown = 12
	failuresShown  = 6
)

// overview shows what has happened of late, what waits, and what needs somebody.
func (d *dashboard) overview(r *http.Request) (page, error) {
	ctx, view := r.Context(), overviewView{}
	chosen := slices.IndexFunc(windows, func(w window) bool { return w.Key == cmp.Or(r.URL.Query().Get("window"), "24h") })
	if chosen < 0 {
		return page{}, &problem{http.StatusBadRequest, "There is no such window", "Use 1h, 24h or 7d."}
	}
	view.Windows = slices.Clone(windows)
	view.Windows[chosen].Chosen = true
	span := windows[chosen]
	recent, err := d.svc.RecentRuns(ctx, span.within, span.every)
	if err != nil {
		return page{}, err
	}
	fleet, err := d.fleet(ctx)
	if err != nil {
		return page{}, err
	}
	failed := runsThat(recent, "failed")
	if failed > 0 {
		found, err := d.svc.ListRuns(ctx, workflow.RunFilter{
			Statuses: []workflow.RunStatus{workflow.RunFailed}, CreatedFrom: recent.From, Limit: failuresShown, MaxLook: most,
		})
		if err != nil {
			return page{}, err
		}
		view.Failures = rowsOf(found.Runs, recent.Now)
	}
	view.Of, view.Cut = "Of the runs created in the last "+span.Label, recent.Cut
	if recent.Cut {
		view.Of = "Of the newest 10,000 runs, the first of which was created " + momentOf(recent.From, recent.Now).Text
	}
	for _, kind := range runKinds {
		view.Tiles = append(view.Tiles, tile{kind.label, kind.kind, count(runsThat(recent, kind.kind)), addressOfList(kind.query())})
	}
	view.Attention = attentions(fleet, recent)
	view.Ended = chartOf(recent, span, []string{"completed", "cancelled", "failed"})
	view.Failed = chartOf(recent, span, []string{"failed"})
	view.Queues = queueBars(fleet.queues)
	view.Workflows = workflowsOf(recent)
	return page{template: "overview", title: "Overview", data: view, live: true}, nil
}

// A runKind is one of the kinds of runs that are counted, as badges have them.
type runKind struct {
	kind, label string
	status      workflow.RunStatus
	reason      workflow.SuspendReason
}

var runKinds = []runKind{
	{"failed", "failed", workflow.RunFailed, ""}, {"blocked", "blocked", workflow.RunSuspended, workflow.SuspendedBlocked},
	{"running", "running", workflow.RunRunning, ""}, {"pending", "pending", workflow.RunPending, ""},
	{"waiting", "suspended", workflow.RunSuspended, ""}, {"completed", "completed", workflow.RunCompleted, ""},
	{"cancelled", "cancelled", workflow.RunCancelled, ""},
}

func (k runKind) query() url.Values {
	query := url.Values{"status": {string(k.status)}}
	if k.reason != "" {
		query.Set("for", string(k.reason))
	}
	return query
}

// runsThat counts those of a kind.
func runsThat(recent workflow.Recent, kind string) (n int) {
	for _, group := range recent.Groups {
		if badgeOf(group.Status, group.SuspendedFor).Kind == kind {
			n += group.Runs
		}
	}
	return n
}

// workflowsOf are those with the most runs.
func workflowsOf(recent workflow.Recent) []workflowRow {
	counts := make(map[string]map[string]int)
	for _, group := range recent.Groups {
		if counts[group.Workflow] == nil {
			counts[group.Workflow] = make(map[string]int)
		}
		counts[group.Workflow][badgeOf(group.Status, group.SuspendedFor).Kind] += group.Runs
	}
	var rows []workflowRow
	for name, of := range counts {
		row := workflowRow{Name: name, To: addressOfList(url.Values{"workflow": {name}})}
		for _, kind := range runKinds {
			n, query := of[kind.kind], kind.query()
			query.Set("workflow", name)
			row.all += n
			row.Counts = append(row.Counts, tile{Label: kind.label, Kind: kind.kind, Count: count(n), To: addressOfList(query)})
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b workflowRow) int { return cmp.Or(cmp.Compare(b.all, a.all), cmp.Compare(a.Name, b.Name)) })
	if len(rows) > workflowsShown {
		rows = rows[:workflowsShown]
	}
	return rows
}

// A queueBar is how many runs of a queue wait, beside the others.
type queueBar struct {
	Name, To, Width, Waiting, Lag, Running, Limit string
	Paused, Full                                  bool
}

func queueBars(queues []workflow.QueueState) []queueBar {
	longest := int64(1)
	for _, queue := range queues {
		longest = max(longest, queue.Waiting)
	}
	bars := make([]queueBar, len(queues))
	for i, queue := range queues {
		bars[i] = queueBar{
			Name: queue.Name, To: addressOfList(url.Values{"queue": {queue.Name}}), Waiting: atLeast(queue, queue.Waiting), Running: atLeast(queue, queue.Running),
			Width: percents(100 * float64(queue.Waiting) / float64(longest)), Paused: !queue.PausedAt.IsZero(),
			Full: queue.MaxRunning > 0 && queue.Running >= int64(queue.MaxRunning),
		}
		if queue.MaxRunning > 0 {
			bars[i].Limit = fmt.Sprintf("of at most %d", queue.MaxRunning)
		}
		if queue.Lag > 0 {
			bars[i].Lag = span(queue.Lag)
		}
	}
	return bars
}

// atLeast is a count of a queue that may not have been counted to its end.
func atLeast(queue workflow.QueueState, n int64) string {
	if queue.AtLeast && n < most {
		return count(n) + "+"
	}
	return count(n)
}
