package state

import (
	"encoding/binary"

	"github.com/assent-network/assent/node/ledger"
)

// A filter part takes filterIDs ids in filterBits bits; with filterProbes
// probes one id in a hundred is taken for known until the index is asked.
const (
	filterIDs    = 32 << 10
	filterBits   = filterIDs * 10
	filterProbes = 7
)

// knownFilter answers "surely not among the ids of the last window" without asking
// the database. Ids are hashes, so their own bytes choose the bits.
type knownFilter struct {
	since uint64 // ids of blocks from this time on are in it
	parts []*filterPart
}

type filterPart struct {
	ids    int
	newest uint64 // block time of the last id
	bits   [filterBits / 64]uint64
}

func (f *knownFilter) add(id ledger.Hash, time uint64) {
	if n := len(f.parts); n == 0 || f.parts[n-1].ids == filterIDs {
		f.parts = append(f.parts, new(filterPart))
	}
	p := f.parts[len(f.parts)-1]
	p.ids++
	p.newest = time
	for i := range filterProbes {
		b := probe(&id, i)
		p.bits[b/64] |= 1 << (b % 64)
	}
}

// forget drops what is older than time.
func (f *knownFilter) forget(time uint64) {
	for len(f.parts) > 0 && f.parts[0].newest < time {
		f.parts = f.parts[1:]
	}
	f.since = max(f.since, time)
}

// mayHold reports whether id may stand in a block of time ≥ from.
func (f *knownFilter) mayHold(id ledger.Hash, from uint64) bool {
	if from < f.since {
		return true // not all of the window was seen since opening
	}
	for _, p := range f.parts {
		hit := true
		for i := 0; i < filterProbes && hit; i++ {
			b := probe(&id, i)
			hit = p.bits[b/64]&(1<<(b%64)) != 0
		}
		if hit {
			return true
		}
	}
	return false
}

func probe(id *ledger.Hash, i int) uint32 {
	return binary.LittleEndian.Uint32(id[4*i:]) % filterBits
}
