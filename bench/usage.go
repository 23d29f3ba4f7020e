package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The names of what processes take.
const (
	clientCPU = "client CPU µs" // of this process and of those that work for it, user and system
	serverCPU = "server CPU µs" // of the server's backends for this database, where they can be seen
	peakMB    = "peak MB"       // resident, of the process that has most
)

// usage returns what this process and its backends have taken until now.
func (c counters) usage(ctx context.Context) (values, error) {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return nil, err
	}
	v := values{clientCPU: processorTime(&own)}
	rows, err := c.db.QueryContext(ctx, "SELECT /* bench */ pid FROM pg_stat_activity WHERE datname = current_database()")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return nil, err
		}
		v[serverCPU] += ofProcess(pid)
	}
	return v, rows.Err()
}

// processorTime returns the microseconds that a process has run.
func processorTime(u *syscall.Rusage) float64 { return microseconds(u.Utime) + microseconds(u.Stime) }

// add adds what another process has taken in all for n runs, where this is counted. Nobody knows what it took for those of a window: 0.
func (v values) add(other *syscall.Rusage, n int) {
	if _, counted := v[clientCPU+perRun]; counted && other != nil {
		if n > 0 {
			v[clientCPU+perRun] += processorTime(other) / float64(n)
		}
		v[peakMB] = max(v[peakMB], resident(other))
	}
}

func microseconds(t syscall.Timeval) float64 { return float64(t.Sec)*1e6 + float64(t.Usec) }

// ofProcess returns the microseconds that a process has run, 0 for one that cannot be seen here.
func ofProcess(pid int) float64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after its name
	fields := strings.Fields(rest)
	const user, system, perTick = 11, 12, 10_000
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseFloat(fields[user], 64)
	s, _ := strconv.ParseFloat(fields[system], 64)
	return (u + s) * perTick
}

// peak returns the megabytes that this process had resident at most.
func peak() float64 {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	return resident(&own)
}

func resident(u *syscall.Rusage) float64 { return float64(u.Maxrss) * 1024 / 1e6 } // Linux counts in kilobytes
