// Package store reads and writes the tables of sqlworkflow: rows in, rows out, on a [database/sql.DB] or inside a
// [database/sql.Tx]. It is the only package that knows their columns. How a statement reaches the server, in which
// transaction and with which bounds, is internal/pg's.
//
// Applications import the root package, which re-exports the types and errors declared here. The functions of this
// package carry no promise of compatibility beyond what the root re-exports: they take what the root has already
// checked and encoded.
//
// # One statement, one outcome
//
// Every write is one statement that first locks the run's row (the guard), then writes only if the run is in a state
// that allows it, and answers with what the guard saw. So an expected outcome (not found, finished, owned) is read from
// a row and is never an error of the server, which would abort a transaction of the caller. A resumption, which depends on more rows
// than it changes, is a transaction of three, two of which only lock.
//
// The engine's statements take FOR SHARE where they only need the run to stay as it is. Inside a caller's transaction a statement
// takes FOR NO KEY UPDATE, because a second write of the same transaction would have to upgrade the lock, and two
// callers that both upgrade deadlock. There it also skips a locked row, and waits for it within a savepoint, so that
// waiting has a bound and its end does not abort the caller. A resumption is within a savepoint from the start.
//
// # What the engine writes
//
// The rows that the engine writes all the time (see [Write]) are of a few kinds, each defined once: the statement for a
// single row and the one for many rows of several kinds are made from it. None of the engine's statements waits for a
// lock: a run that somebody else has locked is skipped, and the statement tells so, for the engine to come back. A statement
// that finds nothing to do writes nothing, takes no transaction id, and looks rows up by id or by the head of an index.
//
// # Families
//
// A run that a step of its parent awaits ends by a kind of write of its own, which counts the step's unfinished children down and
// touches the parent only with the last. That waits for no lock either: a child whose step, or whose parent when it is the last,
// is locked by somebody else does not end yet. Whatever is done by hand (an end, a cancellation, a resumption, a deletion) does
// wait, and so there is one order, see familyWrite: runs by their ids, then the steps that wait for them, then those that are opened
// again. A step that is scheduled always has the number of its unfinished children, whatever has become of its run.
//
// # What comes for a run
//
// A signal, the end of the last child that a step awaits, and an answer from outside raise the run's wake_seq with the run's
// row locked, in the statement that brings them, and make a run runnable that is parked on them: [wakes]. Whatever decides that
// nothing has come (a park, a time-out) is written only while wake_seq is what its owner has seen in the inbox, and locks the
// same row: so one of the two is first, and the other one knows.
//
// # Said once
//
// How a run becomes terminal is one fragment, [ends], whoever ends it; whether a worker lives is said once, by the marks
// {alive} and {dead}; every statement that writes reads [clockClause], which gives the time and bounds our own transactions.
package store
