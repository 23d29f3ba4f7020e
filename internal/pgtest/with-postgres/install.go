//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// canInstall reports whether this is a Debian (or a child of it) and we are root.
func canInstall() bool {
	_, debian := os.Stat("/etc/debian_version")
	_, apt := exec.LookPath("apt-get")
	return os.Getuid() == 0 && debian == nil && apt == nil
}

const clusterConfig = "/etc/postgresql-common/createcluster.conf"

// noMainCluster matches the line that keeps Debian's package from making a cluster and starting it on 5432.
var noMainCluster = regexp.MustCompile(`(?m)^\s*create_main_cluster\s*=\s*(false|off|no|0)`)

// keepFromCluster keeps Debian's postgresql from making a cluster and starting it: the programs are wanted alone.
func keepFromCluster() error {
	text, err := os.ReadFile(clusterConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || noMainCluster.Match(text) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(clusterConfig), 0o755); err != nil {
		return err
	}
	return os.WriteFile(clusterConfig, append(text, "create_main_cluster = false\n"...), 0o644)
}

// install adds Debian packages. None of them may start a daemon, neither now nor at the next boot.
func install(ctx context.Context, packages ...string) (err error) {
	say("installing %s by apt-get, which takes a minute", strings.Join(packages, " "))
	if slices.Contains(packages, "postgresql") {
		if err := keepFromCluster(); err != nil {
			return err
		}
	}
	restore, err := denyServices()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	if err := apt(ctx, "update", "-qq"); err != nil {
		return err
	}
	args := []string{"install", "-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"}
	if err := apt(ctx, append(args, packages...)...); err != nil {
		return err
	}
	if slices.Contains(packages, "pgbouncer") {
		return exec.CommandContext(ctx, "update-rc.d", "pgbouncer", "disable").Run()
	}
	return nil
}

func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}

const servicePolicy = "/usr/sbin/policy-rc.d"

// denyServices tells Debian's packages not to start their services until restore. A policy that the machine
// has already stays as it is.
func denyServices() (restore func() error, err error) {
	f, err := os.OpenFile(servicePolicy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	return func() error { return os.Remove(servicePolicy) }, errors.Join(err, f.Close())
}
