package workflow

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// String says it in one sentence, for people: a log, a page, a terminal, the error of [Handle.Result]. Programs ask Code.
func (y Why) String() string {
	text := fmt.Sprintf("the run is %s", y.Status)
	switch y.Code {
	case WhyFinished:
		return text + because(y.Err)
	case WhyExecuted, WhyStepInFlight:
		return text + y.executedText()
	case WhyByHand:
		return text + " by hand: no worker will claim it"
	case WhyLeaseEnded:
		text += y.leaseEndedText()
	case WhyAsleep, WhyRetry, WhySignal, WhyChildren, WhyDelayed, WhyBlocked:
		if y.Worker.ID != "" {
			return text + " in worker " + y.Worker.String() + y.waitText()
		}
		text += y.waitText()
	default:
		text += fmt.Sprintf(" and has waited to be claimed for %s", span(y.Now.Sub(y.Since))) + y.unclaimedText()
	}
	return text + y.nobodyText()
}

// String names the worker and its process.
func (w WhyWorker) String() string {
	text := w.ID
	if w.Host != "" || w.PID != 0 {
		text += fmt.Sprintf(" (process %d on %s", w.PID, w.Host)
		if w.Version != "" {
			text += ", version " + w.Version
		}
		text += ")"
	}
	return text
}

func (y Why) executedText() string {
	text := fmt.Sprintf(": worker %s executes it", y.Worker)
	if y.Code == WhyStepInFlight {
		text += fmt.Sprintf(", and its step %q has been in flight for %s", y.Step, span(y.Now.Sub(y.Since)))
		if y.Count > 1 {
			text += fmt.Sprintf(" (and %s more)", counted(y.Count-1, "step"))
		}
	}
	return text + fmt.Sprintf("; the worker's lease ends in %s unless it is renewed", span(y.Worker.LeaseUntil.Sub(y.Now)))
}

func (y Why) leaseEndedText() string {
	text := fmt.Sprintf(": its worker %s has died, and another one will take it over", y.Worker)
	if y.Since.IsZero() {
		return text
	}
	return text + fmt.Sprintf("; the lease ended %s ago", span(y.Now.Sub(y.Since)))
}

func (y Why) waitText() string {
	switch y.Code {
	case WhyRetry:
		return ": attempt " + strconv.Itoa(y.Attempt) + ofMost(y.MaxAttempts) + fmt.Sprintf(" of step %q begins at %s", y.Step, y.at(y.Until)) +
			fmt.Sprintf("; the one before failed%s", because(y.Err))
	case WhyAsleep:
		if y.Step == "" {
			return " until " + y.at(y.Until)
		}
		return fmt.Sprintf(": its step %q sleeps until %s", y.Step, y.at(y.Until))
	case WhyBlocked:
		return fmt.Sprintf(": it is blocked since %s, and will be tried again at %s%s", stamp(y.Since), y.at(y.Until), because(y.Err))
	case WhyDelayed:
		return " until " + y.at(y.Until)
	default:
		return ": it waits for " + y.causesText()
	}
}

// causesText says what has to come.
func (y Why) causesText() string {
	text := "something to come"
	if len(y.WaitsFor) > 0 {
		text = strings.Join(y.WaitsFor, ", ")
	}
	if !y.Until.IsZero() {
		text += ", until " + y.at(y.Until)
	}
	if y.Count > 0 {
		text += fmt.Sprintf(": %s not ended%s", counted(y.Count, "run"), y.runsText())
	}
	return text
}

// unclaimedText says why a run that may be claimed is not.
func (y Why) unclaimedText() string {
	text := ""
	if y.Queue != "" {
		text = fmt.Sprintf(" in queue %q", y.Queue)
	}
	switch y.Code {
	case WhyNoQueue:
		return text + ", which is not there any more"
	case WhyQueuePaused:
		return text + ", which is paused since " + stamp(y.PausedAt)
	case WhyQueueFull:
		return text + fmt.Sprintf(", which is full: %d of at most %d runs are executed%s", y.Count, y.Limit, y.runsText())
	case WhyPartitionFull:
		return text + fmt.Sprintf(", in which partition %q is full: %d of at most %d runs are executed%s", y.Partition, y.Count, y.Limit, y.runsText())
	case WhyWorkersFull:
		return text + fmt.Sprintf(", of which a worker executes at most %d runs, and each that serves it does%s", y.Limit, y.runsText())
	case WhyRate:
		return text + ", whose rate lets the next run begin at " + y.at(y.Until)
	case WhyAnnounced:
		return text + ": it is left to the consumer of the application's own queue (Service.Execute)" + y.announcedText()
	case WhyBehind:
		return text + fmt.Sprintf(": %s due before it; %s for it, and %s now", y.aheadText(), serve(y.Serving), execute(y.Serving, y.Executing))
	default:
		return text
	}
}

func (y Why) announcedText() string {
	if y.AnnouncedAt.IsZero() {
		return ", which is not told yet"
	}
	return ", which was last told " + span(y.Now.Sub(y.AnnouncedAt)) + " ago"
}

func (y Why) aheadText() string {
	switch {
	case y.Count == 0:
		return "no other run of its workflow is"
	case y.Count == 1:
		return "1 run is"
	case y.Count >= maxAhead:
		return fmt.Sprintf("%d runs or more are", maxAhead)
	default:
		return fmt.Sprintf("%d runs are", y.Count)
	}
}

// maxAhead is as far as the statement counts.
const maxAhead = 1000

// nobodyText adds that no living worker could go on with the run, whatever else it waits for.
func (y Why) nobodyText() string {
	orServes, andServes := "", ""
	if y.Queue != "" {
		orServes, andServes = fmt.Sprintf(", or does not serve queue %q", y.Queue), fmt.Sprintf(" and serves queue %q", y.Queue)
	}
	switch {
	case y.Workers == 0:
		return fmt.Sprintf("; no worker is alive to execute workflow %q: is Service.Work running anywhere?", y.Workflow)
	case y.Serving > 0:
		return ""
	case y.Workers == 1:
		return fmt.Sprintf("; the only living worker has not registered workflow %q", y.Workflow) + orServes
	default:
		return fmt.Sprintf("; none of the %d living workers has registered workflow %q", y.Workers, y.Workflow) + andServes
	}
}

// runsText lists runs.
func (y Why) runsText() string {
	var all []string
	for _, run := range y.Runs {
		all = append(all, fmt.Sprintf("%s (%s, %s)", run.RunID, run.Workflow, run.Status))
	}
	switch left := y.Count - len(all); {
	case len(all) == 0:
		return ""
	case left > 0:
		return ": " + strings.Join(all, ", ") + fmt.Sprintf(" and %d more", left)
	default:
		return ": " + strings.Join(all, ", ")
	}
}

// at says when that is, and how long until then.
func (y Why) at(t time.Time) string {
	switch d := t.Sub(y.Now); {
	case t.IsZero():
		return "?"
	case d < 0:
		return fmt.Sprintf("%s (%s ago)", stamp(t), span(d))
	default:
		return fmt.Sprintf("%s (in %s)", stamp(t), span(d))
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span is how long something takes, cut to what matters of it.
func span(d time.Duration) string {
	d = max(d, -d)
	if d < 10*time.Second {
		return d.Truncate(time.Millisecond).String()
	}
	return d.Truncate(time.Second).String()
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func ofMost(attempts int) string {
	if attempts < 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", attempts)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func serve(workers int) string {
	if workers == 1 {
		return "1 living worker is there"
	}
	return fmt.Sprintf("%d living workers are there", workers)
}

func execute(workers, runs int) string {
	if workers == 1 {
		return "executes " + counted(runs, "run")
	}
	return "execute " + counted(runs, "run")
}
