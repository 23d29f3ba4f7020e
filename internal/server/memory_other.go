//go:build !linux

package server

// memoryDir would return a directory in memory.
func memoryDir() string { return "" }
