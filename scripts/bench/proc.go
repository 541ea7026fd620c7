package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu     time.Duration // user and system
	written uint64        // bytes handed to the storage layer
}

func (u usage) since(before usage) usage {
	return usage{u.cpu - before.cpu, u.written - before.written}
}

// ticksPerSecond is USER_HZ, which is 100 on every Linux that Go supports.
const ticksPerSecond = 100

// usageOf reads /proc of a process.
func usageOf(pid int) (usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read CPU of pid %d: %w", pid, err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // from field 3 on: the name may hold spaces
	var ticks uint64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("read CPU of pid %d: %w", pid, err)
		}
		ticks += n
	}
	written, err := procNumber(fmt.Sprintf("/proc/%d/io", pid), "write_bytes:")
	if err != nil {
		return usage{}, err
	}
	return usage{time.Duration(ticks) * time.Second / ticksPerSecond, written}, nil
}

// peakRSS returns the largest resident memory of a process so far, in KiB.
func peakRSS(pid int) (uint64, error) {
	return procNumber(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
}

func procNumber(path, name string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %s", path, name)
}

// ownCPU is what this process has used.
func ownCPU() (time.Duration, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0, err
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}
