package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sqlworkflow/workflow"
)

// An advice is a sentence, or a command to paste.
type advice struct{ text, command string }

// advices are what can be done about each reason.
var advices = map[workflow.WhyCode]func(*cli, workflow.Why) []advice{
	workflow.WhyFinished:      (*cli).adviseFinished,
	workflow.WhyExecuted:      (*cli).adviseExecuted,
	workflow.WhyStepInFlight:  (*cli).adviseStepInFlight,
	workflow.WhyLeaseEnded:    (*cli).adviseLeaseEnded,
	workflow.WhyAsleep:        (*cli).adviseTime,
	workflow.WhyRetry:         (*cli).adviseRetry,
	workflow.WhySignal:        (*cli).adviseSignal,
	workflow.WhyChildren:      (*cli).adviseRuns,
	workflow.WhyDelayed:       (*cli).adviseTime,
	workflow.WhyBlocked:       (*cli).adviseBlocked,
	workflow.WhyByHand:        (*cli).adviseByHand,
	workflow.WhyNoWorker:      (*cli).adviseNoWorker,
	workflow.WhyUnserved:      (*cli).adviseUnserved,
	workflow.WhyAnnounced:     (*cli).adviseAnnounced,
	workflow.WhyBehind:        (*cli).adviseBehind,
	workflow.WhyNoQueue:       (*cli).adviseNoQueue,
	workflow.WhyQueuePaused:   (*cli).adviseQueuePaused,
	workflow.WhyQueueFull:     (*cli).adviseQueueFull,
	workflow.WhyPartitionFull: (*cli).adviseQueueFull,
	workflow.WhyWorkersFull:   (*cli).adviseQueueFull,
	workflow.WhyRate:          (*cli).adviseRate,
}

func (c *cli) advice(why workflow.Why) []advice {
	advise, ok := advices[why.Code]
	if !ok {
		return []advice{say("This reason is of a later release: docs/operations.md of that one tells what to do.")}
	}
	all := advise(c, why)
	if why.Serving == 0 && goesOn[why.Code] {
		all = append(all, say("But no living worker would go on with it: start a process that registers workflow %q. Which are there:",
			printable(why.Workflow)), c.paste("doctor"))
	}
	return all
}

// goesOn are the reasons that pass, after which a worker is needed.
var goesOn = map[workflow.WhyCode]bool{
	workflow.WhyAsleep: true, workflow.WhyRetry: true, workflow.WhySignal: true, workflow.WhyChildren: true, workflow.WhyDelayed: true,
	workflow.WhyBlocked: true, workflow.WhyQueuePaused: true, workflow.WhyRate: true,
}

func say(format string, args ...any) advice { return advice{text: fmt.Sprintf(format, args...)} }

func (c *cli) paste(words ...string) advice { return advice{command: c.command(words...)} }

func (c *cli) adviseFinished(why workflow.Why) []advice {
	if why.Status == workflow.RunCompleted {
		return []advice{say("Nothing is to be done. What it has done:"), c.paste("show", why.RunID)}
	}
	return []advice{
		say("When the cause is gone, let it go on from its last good step:"), c.paste("resume", why.RunID),
		say("What it has done so far:"), c.paste("show", why.RunID),
	}
}

func (c *cli) adviseExecuted(why workflow.Why) []advice {
	return []advice{
		say("It is at work. A step that takes long is named from the second heartbeat of its worker on (10 s with the default lease): ask again."),
		c.paste("show", why.RunID),
	}
}

func (c *cli) adviseStepInFlight(why workflow.Why) []advice {
	where := "its worker's process"
	if why.Worker.Host != "" {
		where = fmt.Sprintf("process %d on %s", why.Worker.PID, printable(why.Worker.Host))
	}
	return []advice{
		say("Look at what the step talks to: %s. WithAttemptTimeout bounds it in the code.", where),
		say("To stop the run with what it has started (the step's context ends; what it has done stays done):"),
		c.paste("cancel", why.RunID),
	}
}

func (c *cli) adviseLeaseEnded(why workflow.Why) []advice {
	if why.Serving == 0 {
		return []advice{say("No living worker can take it over: start one that registers workflow %q.", printable(why.Workflow)), c.paste("doctor")}
	}
	return []advice{say("Another worker takes it over within a second or so. If none does, see which are alive:"), c.paste("doctor")}
}

func (c *cli) adviseTime(why workflow.Why) []advice {
	return []advice{say("It goes on by itself. To stop it with what it has started:"), c.paste("cancel", why.RunID)}
}

func (c *cli) adviseRetry(why workflow.Why) []advice {
	return []advice{
		say("Repair what fails: the next attempt comes by itself. Its attempts so far:"), c.paste("show", why.RunID),
		say("To stop it with what it has started:"), c.paste("cancel", why.RunID),
	}
}

func (c *cli) adviseSignal(why workflow.Why) (all []advice) {
	for _, what := range why.WaitsFor {
		signal, ok := strings.CutPrefix(what, "signal:")
		if !ok {
			continue
		}
		if step, decides := strings.CutPrefix(signal, approvalSignal); decides {
			all = append(all, say("Somebody who is asked has to decide; as that person:"),
				c.paste("decide", workflow.ApprovalID(why.RunID, step), "true", "--by", "NAME"))
			continue
		}
		all = append(all, say("Find out why signal %q was not sent. To send it by hand, with what the workflow expects as JSON:", printable(signal)),
			c.paste("signal", why.RunID, signal, "{}"))
	}
	all = append(all, c.adviseChildren(why)...)
	return append(all, say("What it has done, and what was sent to it:"), c.paste("show", why.RunID))
}

func (c *cli) adviseRuns(why workflow.Why) []advice {
	return append(c.adviseChildren(why), say("The whole family:"), c.paste("show", why.RunID))
}

// adviseChildren points at the runs that are waited for, or that are in the way.
func (c *cli) adviseChildren(why workflow.Why) []advice {
	if len(why.Runs) == 0 {
		return nil
	}
	words := []string{"why"}
	for _, run := range why.Runs {
		words = append(words, run.RunID)
	}
	return []advice{say("Ask why these do not end, the one first that has stood still for longest:"), c.paste(words...)}
}

func (c *cli) adviseBlocked(workflow.Why) []advice {
	return []advice{
		say("The code does not do what is recorded. Deploy a fix (workflow.Patched), or the version before: it is tried again by itself, and nothing is lost. " +
			"Others that are blocked:"),
		c.paste("runs", "--suspended-for", "blocked"),
	}
}

func (c *cli) adviseByHand(why workflow.Why) []advice {
	return []advice{
		say("The program that moved it by the state API has to move it on (UpdateRunStatus). To give it up:"), c.paste("cancel", why.RunID),
	}
}

func (c *cli) adviseNoWorker(workflow.Why) []advice {
	return []advice{say("Start a process that works (Service.Work). Which have been there, and died:"), c.paste("doctor")}
}

func (c *cli) adviseUnserved(why workflow.Why) []advice {
	text := fmt.Sprintf("Start a process that registers workflow %q", printable(why.Workflow))
	if why.Queue != "" {
		text += fmt.Sprintf(" and serves queue %q (Config.Serve)", printable(why.Queue))
	}
	return []advice{say("%s. Was it renamed in a deploy? What the living ones know:", text), c.paste("doctor")}
}

func (c *cli) adviseAnnounced(why workflow.Why) []advice {
	return []advice{
		say("See to the application's own queue and to its consumer, which calls Service.Execute. To give the run up:"), c.paste("cancel", why.RunID),
	}
}

func (c *cli) adviseBehind(why workflow.Why) []advice {
	if why.Count == 0 {
		return []advice{say("It should begin in a moment. If it does not, see what hangs:"), c.paste("top")}
	}
	return []advice{say("More processes, or a higher Config.Concurrency; or find out what hangs:"), c.paste("top")}
}

func (c *cli) adviseNoQueue(why workflow.Why) []advice {
	return []advice{say("Make the queue again, or give the run up:"), c.paste("queues", "set", why.Queue), c.paste("cancel", why.RunID)}
}

func (c *cli) adviseQueuePaused(why workflow.Why) []advice {
	return []advice{say("Ask who paused it. Then:"), c.paste("queues", "resume", why.Queue)}
}

func (c *cli) adviseQueueFull(why workflow.Why) []advice {
	flag := map[workflow.WhyCode]string{
		workflow.WhyQueueFull: "--max-running", workflow.WhyPartitionFull: "--max-per-partition", workflow.WhyWorkersFull: "--max-per-worker",
	}[why.Code]
	return append(c.adviseChildren(why), say("To raise the limit:"),
		c.paste("queues", "set", why.Queue, flag, strconv.Itoa(2*max(why.Limit, 1))))
}

func (c *cli) adviseRate(why workflow.Why) []advice {
	return []advice{
		say("It begins by itself. To raise the rate, such as to ten a second:"), c.paste("queues", "set", why.Queue, "--rate", "10/1s"),
	}
}
