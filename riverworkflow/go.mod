// A module of its own, so that River stays out of what users of the library download. go.work has it built with the library beside it.
module github.com/sqlworkflow/workflow/riverworkflow

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/lib/pq v1.12.3
	github.com/riverqueue/river v0.51.2
	github.com/riverqueue/river/riverdriver/riverdatabasesql v0.51.2
	github.com/sqlworkflow/workflow v0.0.0-00010101000000-000000000000
)
