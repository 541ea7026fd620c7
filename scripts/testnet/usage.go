package testnet

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a node's process uses.
type Usage struct {
	CPU time.Duration // user and system, since it started
	RSS uint64        // resident memory now, in bytes
}

// Usage reads /proc of the node's process.
func (x *Node) Usage() (Usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.PID))
	if err != nil {
		return Usage{}, fmt.Errorf("node %s: %w", x.Name, err)
	}
	const user, system, resident = 11, 12, 21 // from field 3 on: the name may hold spaces
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) <= resident {
		return Usage{}, fmt.Errorf("node %s: /proc/%d/stat has %d fields", x.Name, x.PID, len(fields))
	}
	var n [3]uint64
	for i, f := range []int{user, system, resident} {
		if n[i], err = strconv.ParseUint(fields[f], 10, 64); err != nil {
			return Usage{}, fmt.Errorf("node %s: /proc/%d/stat: %w", x.Name, x.PID, err)
		}
	}
	const tick = time.Second / 100 // USER_HZ of every Linux that Go supports
	return Usage{CPU: time.Duration(n[0]+n[1]) * tick, RSS: n[2] * uint64(os.Getpagesize())}, nil
}
