package bft

import (
	"math"

	"github.com/assent-network/assent/consensus"
)

// gather takes the batch for a proposal from the library's pool.
//
// The library's batcher either waits a whole interval, also for a lone request
// in an idle network, or spins at that interval while the pool is empty. So it
// is configured to call as soon as there is one request, and otherwise to
// sleep, and the batch is taken here: at once if the network is idle, after
// BatchInterval if the previous batch shows load. first is what the library
// offers, at least one request.
func (e *Engine) gather(in *instance, first [][]byte) [][]byte {
	s := e.cfg.Settings
	if e.underLoad() && s.BatchInterval > 0 && in.size() < s.BatchMaxCount {
		e.pause(s.BatchInterval)
	}
	batch := e.choose(in)
	if len(batch) == 0 {
		return first // forgotten meanwhile; the application sorts it out
	}
	return batch
}

// choose takes the oldest requests, or lets an application that is Fair choose
// among all.
func (e *Engine) choose(in *instance) [][]byte {
	s := e.cfg.Settings
	if fair, ok := e.cfg.App.(consensus.Fair); ok {
		all, _ := in.cons.Pool.NextRequests(s.PoolSize, math.MaxUint64, false)
		if len(all) == 0 {
			return nil
		}
		return fair.Choose(all)
	}
	batch, _ := in.cons.Pool.NextRequests(s.BatchMaxCount, uint64(s.BatchMaxBytes), false)
	return batch
}

// underLoad reports that waiting pays: the last batch held several requests.
func (e *Engine) underLoad() bool {
	e.appMu.Lock()
	defer e.appMu.Unlock()
	return e.batchSize > 1
}
