//go:build faultpoints

package node

import (
	"encoding/binary"
	"os"
	"sync"

	"github.com/assent-network/assent/node/fault"
)

// capture writes down everything that this node receives from others, as it is when the
// transport has taken its encryption off: messages, requests and replies, each after its
// length in four bytes. capture=PATH of ASSENT_FAULTS says where; nil: nowhere.
type capture struct {
	mu sync.Mutex
	to *os.File
}

func newCapture() *capture {
	path := fault.Value("capture")
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err) // of a test's program
	}
	return &capture{to: f}
}

func (c *capture) keep(msg []byte) {
	if c == nil || len(msg) == 0 {
		return
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.to.Write(frame); err != nil {
		panic(err)
	}
}
