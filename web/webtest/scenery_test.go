package webtest_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// scenery is what a shop has gone through in a day, as rows: real runs would need the day. All times are so many milliseconds before now.
const scenery = `
	INSERT INTO workflows.workflow_queues (name, max_running, max_per_partition, rate_count, rate_window, rate_burst, created_at, updated_at, paused_at)
	VALUES ('images', 4, 2, NULL, NULL, NULL, {90000000}, {90000000}, NULL),
	       ('mails', NULL, NULL, 10, 1000, 5, {90000000}, {3600000}, {3600000}),
	       ('carriers', 20, NULL, NULL, NULL, NULL, {90000000}, {90000000}, NULL);
	INSERT INTO workflows.workflow_queue_turns (queue, seq) VALUES ('images', 0), ('mails', 0), ('carriers', 0);

	INSERT INTO workflows.workflow_workers (id, expires_at, started_at, pid, host, version, workflows, queues, hanging)
	VALUES ('shop-7f9c6d/4711/a1b2', {-3600000}, {7300000}, 4711, 'shop-7f9c6d', '2.14.0', '{order,refund,nightly report,ship}', NULL,
	        '[{"run_id": "0199c2a0-running", "step": "charge card", "since": SINCE}]'),
	       ('images-5d77b/12/c3d4', {-3600000}, {7200000}, 12, 'images-5d77b', '2.14.0', '{thumbnail}', '{images}', NULL),
	       ('shop-2b8e01/991/e5f6', {240000}, {90000000}, 991, 'shop-2b8e01', '2.13.2', '{order,refund}', NULL, NULL);

	-- The day's orders: 600, of which some have failed.
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, error, created_at, updated_at, epoch, version)
	SELECT '0199b' || lpad(to_hex(n), 3, '0') || '-order', CASE WHEN n % 4 = 0 THEN 'refund' ELSE 'order' END,
	       CASE WHEN n % 31 = 3 THEN 'failed' WHEN n % 97 = 5 THEN 'cancelled' ELSE 'completed' END, '{"order": 1}',
	       CASE WHEN n % 31 = 3 OR n % 97 = 5 THEN NULL ELSE '"done"'::jsonb END,
	       CASE WHEN n % 31 = 3 THEN '{"message": "the bank said no: card ends in 4242", "code": "card_declined", "step": "charge card"}'::jsonb END,
	       {0} - at, {0} - at + 800 + n % 9 * 700, 1, '2.14.0'
	FROM (SELECT n, (n * 130000 + abs(sin(n / 40.0)) * 4000000)::bigint + 30000 AS at FROM generate_series(1, 600) AS n) AS runs;

	-- One with something of everything.
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, epoch, version)
	VALUES ('0199c2f1-everything', 'order', 'completed', '{"order": 4711, "lines": [{"sku": "umbrella", "count": 2}], "customer": {"name": "Ada", "city": "London"}}',
	        '{"shipped": true, "parcels": 2}', {5400000}, {1200000}, 3, '2.14.0');
	INSERT INTO workflows.workflow_attributes (created_at, run_id, name, value) VALUES ({5400000}, '0199c2f1-everything', 'customer', 'ada'), ({5400000}, '0199c2f1-everything', 'tenant', 'acme');
	INSERT INTO workflows.workflow_signals (seq, run_id, name, key, payload, sent_at)
	VALUES (1, '0199c2f1-everything', 'paid', 'hook-8812', '{"cents": 4990}', {3800000}), (2, '0199c2f1-everything', 'note', NULL, '"ring twice"', {3000000});
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, epoch, parent_id, parent_step, version)
	VALUES ('0199c2f1-everything.1a', 'ship', 'completed', '1', '1', {2900000}, {2100000}, 1, '0199c2f1-everything', 'ship parcels', '2.14.0'),
	       ('0199c2f1-everything.2b', 'ship', 'completed', '2', '2', {2900000}, {1300000}, 1, '0199c2f1-everything', 'ship parcels', '2.14.0');
	INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at, result, attempts, wake_at, request, child_id, waiting, signal_seq)
	VALUES ('0199c2f1-everything', 'reserve stock', 'succeeded', 'tx', 1, {5399000}, {5380000}, '{"reserved": 2}', NULL, NULL, NULL, NULL, NULL, NULL),
	       ('0199c2f1-everything', 'charge card', 'succeeded', NULL, 2, {4560000}, {4500000}, '{"charge": "ch_19"}',
	        '{"count": 2, "policy": {"max_attempts": 5, "first_delay": 1000000000, "factor": 2, "max_delay": 300000000000}, "failures": [
	            {"at": ATONE, "error": {"message": "dial tcp 10.2.3.4:443: connect: connection refused"}},
	            {"at": ATTWO, "error": {"message": "panic: runtime error: index out of range [3] with length 3", "code": "panic", "stack": "goroutine 71 [running]:\nshop.charge(0xc000)\n\t/src/shop/charge.go:42 +0x1d\nmain.main()\n\t/src/main.go:7"}}]}', NULL, NULL, NULL, NULL, NULL),
	       ('0199c2f1-everything', 'paid', 'succeeded', 'signal', 3, {4500000}, {3800000}, '{"cents": 4990}', NULL, NULL, NULL, NULL, NULL, 1),
	       ('0199c2f1-everything', 'cool down', 'succeeded', 'sleep', 4, {3800000}, {3800000}, 'null', NULL, {2900000}, NULL, NULL, NULL, NULL),
	       ('0199c2f1-everything', 'ship parcels', 'succeeded', 'call', 5, {2900000}, {1300000}, '[1, 2]', NULL, NULL, '{"children": 2}', '0199c2f1-everything.1a', 0, NULL),
	       ('0199c2f1-everything', 'send the confirmation mail', 'succeeded', NULL, 6, {1300000}, {1200000}, '"sent"', NULL, NULL, NULL, NULL, NULL, NULL);

	-- What stands now.
	INSERT INTO workflows.workflow_runs (id, workflow, status, suspended_for, waits_for, owner, input, error, created_at, updated_at, run_at, blocked_at, epoch, wake_seq, version)
	VALUES ('0199c2a0-running', 'order', 'running', NULL, NULL, 'shop-7f9c6d/4711/a1b2', '{"order": 1}', NULL, {560000}, {550000}, NULL, NULL, 1, 0, '2.14.0'),
	       ('0199c2a1-retries', 'order', 'suspended', 'time', NULL, NULL, '{"order": 2}', NULL, {420000}, {20000}, {-95000}, NULL, 4, 0, '2.14.0'),
	       ('0199c2a2-asks', 'refund', 'suspended', 'signal', '{signal:approval:manager}', NULL, '{"order": 3}', NULL, {3200000}, {3199000}, {-170000000}, NULL, 1, 0, '2.14.0'),
	       ('0199c2a3-waits', 'order', 'suspended', 'signal', '{signal:paid}', NULL, '{"order": 4}', NULL, {900000}, {890000}, NULL, NULL, 1, 0, '2.14.0'),
	       ('0199c2a4-blocked', 'order', 'suspended', 'blocked', NULL, NULL, '{"order": 5}',
	        '{"code": "nondeterministic", "message": "step 3: recorded was \"reserve stock\", the function asks for \"charge card\""}', {7000000}, {300000}, {-280000}, {6900000}, 9, 0, '2.14.0'),
	       ('0199c2a5-unserved', 'invoice of the year before the last, with a name that goes on for longer than a column is wide', 'pending', NULL, NULL, NULL, '{"order": 6}', NULL, {1800000}, {1800000}, {1800000}, NULL, 0, 0, '2.15.0'),
	       ('0199c2a6-hostile', '<script>alert(1)</script>', 'failed', NULL, NULL, NULL, '{"x": "</pre><script>alert(2)</script>"}',
	        '{"message": "<img src=x onerror=alert(3)>", "code": "\"><svg onload=alert(4)>", "stack": "goroutine 1 [running]:\n<b>main</b>"}', {600000}, {599000}, NULL, NULL, 1, 0, '2.14.0');
	INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at, result, attempts, wake_at, request, error)
	VALUES ('0199c2a0-running', 'reserve stock', 'succeeded', 'tx', 1, {559000}, {550000}, '1', NULL, NULL, NULL, NULL),
	       ('0199c2a1-retries', 'reserve stock', 'succeeded', 'tx', 1, {419000}, {410000}, '1', NULL, NULL, NULL, NULL),
	       ('0199c2a1-retries', 'charge card', 'pending', NULL, 2, {30000}, {20000}, NULL,
	        '{"count": 2, "policy": {"max_attempts": 5, "first_delay": 1000000000, "factor": 2, "max_delay": 300000000000}, "failures": [
	            {"at": RETRYONE, "error": {"message": "dial tcp 10.2.3.4:443: i/o timeout"}}, {"at": RETRYTWO, "error": {"message": "dial tcp 10.2.3.4:443: i/o timeout"}}]}', {-95000}, NULL, '{"message": "dial tcp 10.2.3.4:443: i/o timeout"}'),
	       ('0199c2a2-asks', 'manager', 'scheduled', 'approval', 1, {3199000}, {3199000}, NULL, NULL, {-170000000}, '{"from": ["anna", "berta"], "for": {"cents": 49900, "reason": "umbrella leaks"}}', NULL);

	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key, owner, epoch, version)
	SELECT '0199c2b' || n || '-image', 'thumbnail', CASE WHEN n < 4 THEN 'running' ELSE 'pending' END, '{"image": 1}', {200000} + n * 1000, {100000}, CASE WHEN n < 4 THEN NULL ELSE {200000} + n * 1000 END,
	       'images', 2, CASE n % 3 WHEN 0 THEN 'acme' WHEN 1 THEN 'globex' ELSE 'initech' END, CASE WHEN n < 4 THEN 'images-5d77b/12/c3d4' END, 1, '2.14.0'
	FROM generate_series(0, 37) AS n;
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key, version)
	SELECT '0199c2c' || n || '-mail', 'order', 'pending', '{"mail": 1}', {3000000} + n * 10000, {3000000}, {3000000} + n * 10000, 'mails', 2, '', '2.14.0' FROM generate_series(0, 13) AS n;

	INSERT INTO workflows.workflow_schedules (created_at, updated_at, paused_at, next_at, last_at, every, catch_up, jitter, started, missed, overlapped, paused, name, workflow, cron, zone, overlap, last_run_id, input)
	VALUES ({900000000}, {900000000}, NULL, {-27000000}, {59400000}, NULL, 3600000, 0, 10, 1, 0, 0, 'nightly', 'nightly report', '30 2 * * *', 'Europe/Berlin', 'skip', '0199b001-order', '{"for": "all"}'),
	       ({900000000}, {500000}, {500000}, {-120000}, {600000}, 600000, 0, 5000, 1412, 0, 12, 3, 'sweep', 'order', NULL, '', 'skip', '0199b002-order', 'null'),
	       ({900000000}, {900000000}, NULL, {-950000}, NULL, 3600000, 0, 0, 0, 0, 0, 0, 'exchange rates', 'nobody registers this', NULL, '', 'allow', NULL, 'null');`

// paint fills a database.
func paint(t *testing.T, db *sql.DB) {
	t.Helper()
	text := strings.NewReplacer("SINCE", "NOWMS-480000", "ATONE", "NOWMS-5300000", "ATTWO", "NOWMS-4900000",
		"RETRYONE", "NOWMS-300000", "RETRYTWO", "NOWMS-20000").Replace(scenery)
	now := kit.One[int64](t, db, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`)
	kit.Exec(t, db, at(text, now))
}
