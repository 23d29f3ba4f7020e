// Package workflow runs durable workflows in an application that already uses [database/sql] with PostgreSQL. There is no
// server, no broker and no driver to add: the state is rows in the application's database, and what is written can join the
// application's own transaction.
//
// # The first hour
//
// A [Service] has the application's pool, or a connection string to open one of its own ([Config]). [Service.Init] creates or
// upgrades the tables:
//
//	svc, err := workflow.New(workflow.Config{DB: db})
//	…
//	err = svc.Init(ctx)
//
// A workflow is a function with a name ([Define]). Its steps ([Do]) are recorded as they end, so that the function can be
// called again after a crash and goes on where it was:
//
//	var checkout = workflow.Define("checkout", func(ctx context.Context, o Order) (Receipt, error) {
//		charge, err := workflow.Do(ctx, "charge", func(ctx context.Context) (Charge, error) {
//			return payments.Charge(ctx, workflow.IdempotencyKey(ctx), o.Total)
//		})
//		…
//	})
//
// [Service.Register] binds it, [Service.Work] executes runs of it until its context ends, [Workflow.Start] starts one, in this
// process or another, and [Handle.Result] waits for it. A run belongs to one worker at a time; when that dies, another one takes
// it over once the lease has ended ([Config].Lease).
//
// # In your transaction
//
// Whatever starts or writes takes a [Session]: the service itself, or [Service.In] with a transaction of yours. Then your
// rows and the run exist together or not at all:
//
//	order, err := insertOrder(ctx, tx)
//	handle, err := checkout.Start(ctx, svc.In(tx), order)
//	err = tx.Commit()
//	svc.Wake() // or the run waits for the next poll
//
// Expected outcomes ([ErrRunConflict], [ErrStepFinished] and the like) never abort that transaction.
//
// # Steps
//
// A step of [Do] may run again when the process dies between its effect and its record; [IdempotencyKey] gives it a key that is
// the same each time. A step of [DoTx] has a transaction, in which it is also recorded: its writes happen exactly once.
//
// A step that fails is tried again, five times unless [WithRetry] or [Config].Retry says otherwise; [Final] ends that at once,
// and [RetryAfter] sets the time of the next attempt. [WithAttemptTimeout] bounds an attempt. What a step failed with in the end is
// an [*Error] with a [Code]:
//
//	if errors.Is(err, workflow.Code("card_declined")) { … }
//
// [Sleep] makes a run wait, for months if need be: a long wait is a row, not a goroutine. [Parallel] calls a function for each of
// many items, and [Branch] gives a goroutine of your own its step names: within one branch, steps follow each other.
//
// # Waiting for others
//
// A run that waits is a row: it takes no slot and no memory. A [Signal] is a message to a run ([DefineSignal]). [Signal.Wait] takes the
// oldest of its name that no other step has taken, or fails with [ErrTimeout]; [Signal.Poll] takes one if it is there. It may come before
// the run waits for it, and joins the transaction of whoever sends it:
//
//	var paid = workflow.DefineSignal[Payment]("paid")
//
//	payment, err := paid.Wait(ctx, 72*time.Hour)                                   // in a workflow
//	err = paid.Send(ctx, svc.In(tx), runID, payment, workflow.WithKey(webhookID)) // anywhere; with a key, once
//
// An [Approval] asks people ([DefineApproval]): who may decide, on what, until when. [State.ListApprovals] lists what is open, and
// [Approval.Decide] decides. The first decision that counts wins ([Approval.Decision]), and the others are kept.
//
// [Call] starts a run of another workflow and waits for its result, [CallAll] one for each of many inputs, and [Spawn] does not wait.
// Each is a step of the run that calls, so it starts what it starts once. A workflow of one step comes from [DefineStep]: call it
// to have the step executed elsewhere. What a called run failed with is a *[RunError] with the [Code] of that failure.
//
//	receipt, err := workflow.Call(ctx, "charge", charge, order)
//	pages, err := workflow.CallAll(ctx, "pages", fetch, urls) // in the order of urls, failures among them
//
// # Queues
//
// A run that is started [WithQueue] begins when its queue has room for it, in any process that serves the queue ([Config].Serve). A
// [Queue] bounds how many of its runs run at once, in all processes together, in each and in each partition, and how often they
// begin. The limits hold exactly, and are changed while everything runs:
//
//	err := svc.EnsureQueue(ctx, workflow.Queue{Name: "images", MaxRunning: 20, Rate: workflow.PerSecond(10)}) // when a program starts
//	handle, err := resize.Start(ctx, svc, image, workflow.WithQueue("images"), workflow.WithPartition(tenant))
//
// [State.EnsureQueue] makes a queue that is not there, [State.SetQueue] changes one, [State.PauseQueue] stops one, and
// [State.ListQueues] tells what runs and what waits; all of them in a transaction, too. Partitions take turns ([WithPartition]), so the
// thousands of runs of one customer do not keep out the one of another; among the runs of a partition, those of a higher priority go
// first ([WithPriority]). A run that waits for something counts for no limit. [Call], [CallAll] and [Spawn] take the same options.
//
// [WithUnique] starts no second run of a key while the first one is unfinished, with a queue or without.
//
// Other processes find what there is to do with their next poll, or within milliseconds with [Config].Notifier (notify/pqnotify,
// notify/pgxnotify). With [Config].Dispatcher a job queue that the application has already brings runs to whoever calls
// [Service.Execute].
//
// # Schedules
//
// A [Schedule] starts runs by the clock, by a cron expression in a time zone or in equal distances, in whatever process works then: one
// run for each tick, also when the process dies that is about to start it. [Workflow.EnsureSchedule] makes one that is not there,
// [Workflow.SetSchedule] changes one; [State.PauseSchedule], [State.TriggerSchedule] and [State.ListSchedules] are for whoever operates it.
//
//	err := report.EnsureSchedule(ctx, svc, workflow.Schedule{Name: "nightly", Cron: "30 2 * * *", Zone: "Europe/Berlin"}, input)
//
// # Rules for a workflow's function
//
// It is called again after a crash, a long wait or a deploy, and must then do the same between its steps: no clock, no random
// numbers, no I/O and no state from outside; these belong in steps. It passes on the context that it got, and returns the
// error of a step that says that the run is interrupted ([ErrInterrupted]). docs/rules.md shows wrong and right code side by side.
//
// # Changing it
//
// A run whose function no longer does what is recorded is blocked before anything takes effect: it keeps its error, is tried again with
// growing pauses, and goes on by itself after a fix or a rollback ([SuspendedBlocked], [Config].BlockedFor). [Patched] lets runs on
// both sides of a change live side by side; a large change gets another name. When Work's context ends, steps in flight have
// [Config].Drain to finish, and the runs are handed back.
//
// # Stopping, and going on
//
// [State.Cancel] and [Handle.Cancel] stop a run wherever it is executed, and [WithDeadline] does so in time. [State.Resume] goes on
// with one that failed or was cancelled, from its last good step. Cancel takes along the runs that it has called or spawned, but for
// those with [Abandon], and Resume those that it still waits for.
//
// [Service.CancelRuns], [Service.ResumeRuns] and [Service.DeleteRuns] do so with many runs, by a filter ([Bulk]).
//
// Finished runs stay until somebody deletes them: [Service.Prune] those that ended long ago, or the workers, with [Config].Retention.
//
// # Looking at it
//
// [State.GetRun], [State.ListRuns], [State.ListSteps] and [State.ListSignals], which a Service has too, read what is recorded,
// and the command "workflow show" draws a run with its family. [Service.Why] says why one does not move, and "workflow why" what can be
// done about it. [Service.AwaitRun] waits for a run of any type, [Service.Stats] counts, [Service.ListWorkers] tells who works, and
// [Service.StepsInFlight] what hangs where. When a context ends
// before a result is there, the error says what the run was waiting for. Problems that no caller is waiting for go to
// [Config].Logger, which is [slog.Default] from warnings on; [Logger] is for lines of your own. [Config].Observer is told of all that happens
// to runs and steps, for metrics and traces; the module otelworkflow has one for OpenTelemetry.
//
// # The state API
//
// Applications that execute their work themselves keep its state with [State]: create a run, record its steps, move its
// status. Every call is one guarded statement: a finished run refuses writes, the first result of a step is final, and a status
// changes only along the allowed ways. [State.WithRunLock] makes several of them one critical section across processes.
//
// A step that a run waits for may be completed this way too, by whoever has done what it stands for ([State.SetStepResult]): a worker
// in another language, by a statement that docs/operations.md shows.
//
// # What is stored
//
// Inputs, outputs and results are JSON, in JSONB columns: what comes back is equal as JSON, not byte for byte. Errors are
// kept as {message, code, stack, step} ([Error]). Times are the database's, in milliseconds. The tables are documented in the
// database itself (COMMENT ON) and in docs/operations.md; reading them with psql is part of the design.
//
// # Bounds
//
// Nothing waits without one: calls end after [Config].Timeout, waits for a locked run after [Config].LockTimeout, and every
// call honours its context. Bad input is refused before it reaches the server ([ErrInvalidArgument], [ErrPayloadTooLarge]).
package workflow
