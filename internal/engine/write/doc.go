// Package write is the ground floor of the engine: rows on their way to the database (writer.go), what this process holds and
// whom it tells (holds.go, await.go), and the one stream of events from which every log line comes (observe.go). It knows
// nothing of workflows' functions or of workers.
package write
