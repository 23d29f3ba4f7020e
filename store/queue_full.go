package store

// fullAfter is whether a limit has kept runs back, or will keep back the next one: until a run of the queue ends there is no room, or not for
// all partitions. A partition of which nothing was claimed, though there was room in the queue, may be such a one; it is not looked at a
// second time for that.
var fullAfter = `CASE
	           WHEN room.places <= (SELECT count(*) FROM claimed) THEN true
	           WHEN room.max_per_partition IS NULL OR room.n <= (SELECT count(*) FROM claimed) THEN false
	           ELSE ` + inPartition("''") + ` <= 0
	                OR EXISTS (SELECT FROM due WHERE due.places <= (SELECT count(*) FROM claimed WHERE claimed.n = due.n))
	                OR EXISTS (SELECT FROM lane WHERE lane.n > 0 AND lane.key > '' AND NOT EXISTS (SELECT FROM due WHERE due.key = lane.key))
	       END`
