// Package workflow runs durable workflows in an application that already uses [database/sql] with PostgreSQL. There is no
// server, no broker and no driver to add: the state is rows in the application's database, and what is written can join the
// application's own transaction.
//
// # A first day
//
// A [Service] needs a pool, or a connection string to open one of its own ([Config]). [Service.Init] creates or upgrades
// the tables:
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
//			return payments.Charge(ctx, workflow.RunID(ctx), o.Total)
//		})
//		…
//	})
//
// [Service.Register] binds it, [Service.Work] executes runs of it until its context ends, [Workflow.Start] starts one, in this
// process or another, and [Handle.Result] waits for it. A run belongs to one worker at a time; when that dies, another takes
// over once its lease has ended ([Config].Lease).
//
// # Steps
//
// A step of [Do] may run again when the process dies between its effect and its record; [IdempotencyKey] gives it a key that is
// the same each time. A step of [DoTx] has a transaction, in which it is also recorded: its writes happen exactly once. A
// step that fails is tried again ([WithRetry], [Final]), and [Sleep] makes a run wait, for months if need be: long waits are
// rows, not goroutines. A run may have goroutines, with a [Branch] each.
//
// # Rules for a workflow's function
//
// It is called again after a crash, a long wait or a deploy, and must then do the same between its steps: no clock, no random
// numbers, no I/O and no state from outside; these belong into steps. It passes on the context that it got, and returns the error
// of a step that says that the run is paused ([IsPaused]). What does not match its record stops the run with code
// nondeterministic, so give a changed workflow another name while unfinished runs of the old one are left.
//
// # Starting, stopping
//
// [Workflow.Start] takes an id ([WithRunID]), a delay and a deadline; [Workflow.StartTx] joins your transaction. [Service.Cancel]
// stops a run wherever it is executed, and [Service.Resume] goes on from the last good step of one that failed. When Work's
// context ends, steps in flight have [Config].Drain to finish and the runs are handed back.
//
// # The state API
//
// Applications that execute their work themselves keep its state with [State]: create a run, record its steps, move its
// status. Every call is one guarded statement: a finished run refuses writes, the first result of a step is final, and a status
// changes only along the allowed ways. [State.WithRunLock] makes several of them one critical section across processes.
//
// # Your transaction
//
// [Service.In] binds the state API to a transaction of the application: its rows and ours commit together or not at all.
// Expected outcomes ([ErrRunNotFound], [ErrStepFinished] and the like) never abort that transaction.
//
// # What is stored
//
// Inputs, outputs and results are JSON, in JSONB columns: what comes back is equal as JSON, not byte for byte. Errors are
// kept as {message, code, stack} ([Error]). Times are the database's, in milliseconds. The tables are documented in the
// database itself (COMMENT ON) and in the README; reading them with psql is part of the design.
//
// # Bounds
//
// Nothing waits without one: calls end after [Config].Timeout, waits for a locked run after [Config].LockTimeout, and every
// call honours its context. Bad input is refused before it reaches the server ([ErrInvalidArgument], [ErrPayloadTooLarge]).
package workflow
