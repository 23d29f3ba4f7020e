package store

import "database/sql"

// Place is where a run waits for a worker: among the runs without a queue, its zero value, or on a queue.
type Place struct {
	Queue     string // "": none
	Priority  int    // on a queue: from 0, which goes first, to 4
	Partition string // on a queue: whose run it is; each partition gets its turn
}

// The priorities of a queue.
const (
	HighestPriority = 0
	UsualPriority   = 2
	LowestPriority  = 4
)

// Columns of a place, and of what else is known of a run when it is inserted that few runs have.
const placeFields = "queue text, priority smallint, partition_key text, dispatched smallint"

func (p Place) fill(row *fields, dispatched Dispatched) {
	if p.Queue == "" {
		row.null()
		row.null()
		row.null()
	} else {
		row.text(p.Queue)
		row.number(int64(p.Priority))
		row.text(p.Partition)
	}
	dispatched.fill(row)
}

// placeRow is scanned from the columns of a run.
type placeRow struct {
	Queue     sql.NullString `db:"queue"`
	Priority  sql.NullInt64  `db:"priority"`
	Partition sql.NullString `db:"partition_key"`
}

func (r placeRow) place() Place {
	return Place{Queue: r.Queue.String, Priority: int(r.Priority.Int64), Partition: r.Partition.String}
}
