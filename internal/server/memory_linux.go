package server

import "syscall"

// inMemory is where files are kept in memory, and how much room a cluster is given at least: tests keep some dozen databases
// of 8 MB at a time, a million rows now and then, and a gigabyte of WAL.
const (
	inMemory      = "/dev/shm"
	inMemoryBytes = 4 << 30
	tmpfsMagic    = 0x01021994 // TMPFS_MAGIC of linux/magic.h
)

// memoryDir returns a directory in memory with room for a cluster, "" if there is none.
func memoryDir() string {
	var fs syscall.Statfs_t
	if syscall.Statfs(inMemory, &fs) != nil || fs.Type != tmpfsMagic || fs.Bavail*uint64(fs.Bsize) < inMemoryBytes { //nolint:gosec // a size
		return ""
	}
	return inMemory
}
