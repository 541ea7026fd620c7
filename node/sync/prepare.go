package sync

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
)

// Certificates are most of what a block costs before it is executed. While blocks
// are appended and executed one after the other, those that come next are checked
// on all cores.

// checked is a block with its certificate, decoded and checked as far as its place
// in the ledger does not matter.
type checked struct {
	block *ledger.Block
	cert  *ledger.Certificate
	conf  *ledger.Config // under which it was checked; nil: it was not
	err   error          // what is wrong with it, under conf
}

// prepareFrom is how many blocks are worth the goroutines.
const prepareFrom = 4

// prepare checks the blocks of an answer, which begin at height from, under conf,
// on all cores. It ends soon after the first that is wrong, as are those after a
// change of config: whoever takes them checks what was not checked under the config
// that is then in force.
func prepare(items []blockItem, from ledger.Height, conf *ledger.Config) []checked {
	if len(items) < prepareFrom {
		return nil
	}
	out := make([]checked, len(items))
	var next atomic.Int64
	var wrong atomic.Bool
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(items)) {
		workers.Go(func() {
			for !wrong.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return
				}
				out[i] = checkUnder(items[i], from+ledger.Height(i), conf)
				if out[i].err != nil {
					wrong.Store(true)
				}
			}
		})
	}
	workers.Wait()
	return out
}

// checkUnder decodes what a peer sent for height h and checks body and certificate
// under conf.
func checkUnder(item blockItem, h ledger.Height, conf *ledger.Config) (c checked) {
	c.conf = conf
	if c.block, c.err = ledger.DecodeBlock(item.Block); c.err != nil {
		c.err = fault{c.err}
		return c
	}
	if got := c.block.Header.Height; got != h {
		c.err = faultf("it sent block %d for block %d", got, h)
		return c
	}
	if c.cert, c.err = ledger.DecodeCertificate(item.Certificate); c.err != nil {
		c.err = fault{c.err}
		return c
	}
	if err := conf.VerifyCertificate(&c.block.Header, c.cert); err != nil {
		c.err = fault{err}
		return c
	}
	// From here on a quorum of validators has signed for what is wrong.
	if _, err := c.block.CheckContent(conf); err != nil {
		c.err = fmt.Errorf("%w: %w", ErrForked, err)
	}
	return c
}

// place is nil if the block is right and follows tip.
func (c *checked) place(tip store.Tip) error {
	if c.err != nil {
		return c.err
	}
	if err := c.block.Header.Follows(&tip.Header, tip.Config); err != nil { // a quorum has signed for it
		return fmt.Errorf("%w: %w", ErrForked, err)
	}
	return nil
}
