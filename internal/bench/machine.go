package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// machineTime returns for how long the processors of the machine have been busy or
// taken by others of its host, all together; 0 where /proc does not say.
func machineTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return parseMachineTime(line)
}

// parseMachineTime reads a line such as "cpu  10 0 20 900 5 0 1 2 0 0": proc(5).
func parseMachineTime(line string) time.Duration {
	const idle, iowait, steal = 4, 5, 8
	fields := strings.Fields(line)
	if len(fields) <= steal || fields[0] != "cpu" {
		return 0
	}
	ticks := 0
	for i := 1; i <= steal; i++ { // what follows is part of these
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0
		}
		if i != idle && i != iowait {
			ticks += n
		}
	}
	return time.Duration(ticks) * clockTick
}

// residentSize returns how much memory of the machine this process takes, in bytes;
// 0 where /proc does not say.
func residentSize() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// writtenByThis returns the bytes that this process has had written to disk; 0 where
// /proc does not say.
func writtenByThis() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	return parseWritten(string(text))
}

// parseWritten reads the lines of proc(5)'s io.
func parseWritten(text string) int64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
