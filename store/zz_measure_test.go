package store

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestMeasureStats(t *testing.T) {
	db := pgtest.New(t).Open(t, pgtest.PGX)
	db.SetMaxOpenConns(1)
	ex := func(q string) { if _, err := db.Exec(q); err != nil { t.Fatal(err) } }
	ex(`INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, run_at)
	 SELECT gen_random_uuid()::text, 'take-order', CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'completed' END,
	  jsonb_build_object('File','orders.csv','Number',n,'Text',repeat('x',150)), jsonb_build_object('Order',n,'Text',repeat('y',100)), 1790000000000+n, 1790000000000+n, NULL
	 FROM generate_series(1,1000000) n`)
	ex(`INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
	 SELECT gen_random_uuid()::text, 'take-order', 'suspended', '1', 1, 1, 9999999999999 FROM generate_series(1,100000)`)
	ex(`VACUUM ANALYZE workflows.workflow_runs`)
	var size string
	db.QueryRow(`SELECT pg_size_pretty(pg_relation_size('workflows.workflow_runs'))`).Scan(&size)
	st := New(db, Options{Schema: "workflows", Timeout: time.Minute})
	for range 3 {
		at := time.Now()
		s, err := st.GetStats(t.Context())
		t.Log(size, time.Since(at), s, err)
	}
	ex("SET max_parallel_workers_per_gather = 0")
	for range 3 {
		at := time.Now()
		s, err := st.GetStats(t.Context())
		t.Log("serial", time.Since(at), s, err)
	}
	rows, _ := db.Query("EXPLAIN (ANALYZE, BUFFERS) " + st.text.alone[getStats])
	for rows.Next() { var l string; rows.Scan(&l); t.Log(l) }
}
