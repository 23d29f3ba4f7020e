package main

import (
	"time"

	"github.com/sqlworkflow/workflow"
)

// The fastest settings of a peer are the least that its documentation allows, or what costs it no more than that.
const (
	fastPoll = 10 * time.Millisecond // ours
	leastGap = time.Millisecond      // River's FetchCooldownMin and FetchPollIntervalMin; DBOS Go's are only to be positive
)

var correspondents = []correspondent{
	{
		name: oursHere, settings: "one process; no queue, so that the run begins at once",
		openStarter: openLibraryHere(""),
	},
	{
		name: oursHereQueue, settings: "one process; a queue with a limit of 50",
		openStarter: openLibraryHere(queueName),
	},
	libraryAcross(oursAcross, "defaults: polls every 250 ms", workflow.Config{}, nil),
	libraryAcross(oursAcrossFast, "`PollInterval` 10 ms", workflow.Config{PollInterval: fastPoll}, nil),
	libraryAcross(oursNotifiedPGX, "defaults, and a `Notifier` on pgx in both processes", workflow.Config{}, pgxNotifier),
	libraryAcross(oursNotifiedPQ, "the same on lib/pq; the pool is on pgx", workflow.Config{}, pqNotifier),
	{
		name: riverAcross,
		settings: "defaults: `FetchCooldown` 100 ms, LISTEN/NOTIFY; the output by `RecordOutput`, which is written when jobs are " +
			"completed: in batches, a while later",
		openWorker: openRiverPGXLatency(riverSpeed{}), openStarter: openRiverPGXStarter(riverSpeed{}),
	},
	{
		name: riverAcrossFast, settings: "`FetchCooldown` 1 ms, the least, in both processes; the output by `JobUpdate` in the midst of the work",
		openWorker:  openRiverPGXLatency(riverSpeed{cooldown: leastGap, update: true}),
		openStarter: openRiverPGXStarter(riverSpeed{cooldown: leastGap}),
	},
	{
		name: riverAcrossSQL, settings: "as on pgx; no LISTEN, polls every second",
		openWorker: openRiverSQLLatency(riverSpeed{}), openStarter: openRiverSQLStarter(riverSpeed{}),
	},
	{
		name: riverAcrossSQLFst, settings: "`FetchCooldown` and `FetchPollInterval` 1 ms, the least; the output by `JobUpdate`",
		openWorker:  openRiverSQLLatency(riverSpeed{cooldown: leastGap, poll: leastGap, update: true}),
		openStarter: openRiverSQLStarter(riverSpeed{cooldown: leastGap}),
	},
	{
		name: dbosHere, settings: "one process, `RunWorkflow`: no queue",
		openStarter: openDBOSHere,
	},
	{
		name: dbosAcross, settings: "defaults: the queue and results are polled every second",
		openWorker: openDBOSLatency(0), openStarter: openDBOSStarter(0),
	},
	{
		name: dbosAcrossFast, settings: "the queue and results are polled every millisecond",
		openWorker: openDBOSLatency(leastGap), openStarter: openDBOSStarter(leastGap),
	},
}
