package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
)

// haltFile, in the data directory, says why the node halted, for the doctor of a
// node that does not run. It goes when the node has executed past that height with
// the results that are certified. Losing it loses nothing else.
const haltFile = "halt.json"

// maxHaltFile bounds what is read of it.
const maxHaltFile = 64 << 10

// halt is the content of haltFile.
type halt struct {
	Format int       `json:"format"` // 1
	At     time.Time `json:"at"`
	doctor.Halt
}

func readHalt(dataDir string) (*halt, error) {
	path := filepath.Join(dataDir, haltFile)
	fi, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil && fi.Size() > maxHaltFile {
		err = fmt.Errorf("it has %d bytes", fi.Size())
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	var h *halt
	if err == nil {
		h, err = parseHalt(b)
	}
	if err != nil {
		return nil, fmt.Errorf("read why the node halted, %s: %w: it may be removed, the log says it too", path, err)
	}
	return h, nil
}

func parseHalt(b []byte) (*halt, error) {
	var h halt
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, err
	}
	if h.Format != 1 {
		return nil, fmt.Errorf("format %d, known is 1", h.Format)
	}
	return &h, nil
}

// runChain runs the chain. A halt is noted the moment it happens, before anything
// else of the node is stopped: clients and operators read of it meanwhile.
func (n *Node) runChain(ctx context.Context) error {
	noted := make(chan struct{})
	go func() {
		defer close(noted)
		<-n.chain.Ended()
		if h := haltOf(n.chain.Failure()); h != nil {
			n.noteHalt(*h)
		}
	}()
	err := n.chain.Run(ctx) // which may wait for its engine to stop
	<-noted
	return err
}

// halt says over which result the node has halted, or had before and has not passed
// since; nil if over none. It knows from the moment the chain does.
func (n *Node) halt() *doctor.Halt {
	if h := n.halted.Load(); h != nil {
		return h
	}
	return haltOf(n.chain.Failure())
}

// checkHalt is for anybody: the height alone.
func (n *Node) checkHalt() error {
	if h := n.halt(); h != nil {
		return fmt.Errorf("this node halted at height %d over a result that the others do not share, and has not passed it since: use another node; assentd doctor on this machine says why and what to do", h.Height)
	}
	return nil
}

// refuseHalted refuses a client's call of a node that has halted; nil if it has not.
func (n *Node) refuseHalted() error {
	if err := n.checkHalt(); err != nil {
		return api.Refuse(pb.Code_CODE_NOT_READY, "%w", err)
	}
	return nil
}

// refusal turns an error of the chain into one of the API; of a chain that stopped
// because it halted, it says that.
func (n *Node) refusal(err error) error {
	if errors.Is(err, chain.ErrStopped) {
		if halted := n.refuseHalted(); halted != nil {
			return halted
		}
	}
	return refusal(err)
}

// noteHalt keeps why the node halted. A disk that cannot take it changes nothing:
// the log has it, and whoever asks while the process lives is told.
func (n *Node) noteHalt(h doctor.Halt) {
	n.halted.Store(&h)
	b, err := json.MarshalIndent(&halt{Format: 1, At: n.now().UTC(), Halt: h}, "", "  ")
	if err == nil {
		err = durable.WriteFile(filepath.Join(n.cfg.DataDir, haltFile), append(b, '\n'))
	}
	if err != nil {
		n.log.Warn("why the node halted is in this log only", "error", err)
	}
}

// openHalt reads why the node halted before, if it did.
func (n *Node) openHalt() {
	h, err := readHalt(n.cfg.DataDir)
	if err != nil {
		n.log.Warn("the note of a halt cannot be read", "error", err)
		return
	}
	if h == nil {
		return
	}
	n.halted.Store(&h.Halt)
	n.log.Warn("this node has halted before and has not passed that height since", "height", h.Height, "tx", h.Tx, "key", h.Key)
	if e, _, ok := n.state.Executed(); ok { // as when it began with a later snapshot
		n.passedHalt(e)
	}
}

// passedHalt forgets a halt when a block at or above it was executed: what the
// block certifies was computed here, too.
func (n *Node) passedHalt(executed ledger.Height) {
	h := n.halted.Load()
	if h == nil || uint64(executed) < h.Height || !n.halted.CompareAndSwap(h, nil) {
		return
	}
	if err := os.Remove(filepath.Join(n.cfg.DataDir, haltFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		n.log.Warn("the note of a halt cannot be removed", "error", err)
		return
	}
	n.log.Info("the node has passed the height at which it halted before", "height", h.Height)
}

// haltOf is what the chain's failure says by itself: at once, without a peer. nil
// if the chain did not fail by a result.
func haltOf(err error) *doctor.Halt {
	var d *chain.Differs
	var hangs *chain.Hangs
	switch {
	case errors.As(err, &d):
		return &doctor.Halt{Height: uint64(d.Height), What: "a quorum certified another result than this node computed"}
	case errors.As(err, &hangs):
		h := &doctor.Halt{Height: uint64(hangs.Height), What: "a contract does not return", Key: hangs.Key}
		if hangs.Call != nil {
			h.Tx, h.Contract, h.Function = hangs.Call.TxID.Hex(), hangs.Call.Contract, hangs.Call.Function
		}
		return h
	}
	return nil
}
