package epoch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"sort"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

const depth = answer.TreeDepth

// slot is one subject's leaf as it is kept.
type slot struct {
	position uint64
	output   byte // index among the template's outputs
	leaf     record.Hash
}

// salter makes the salts of leaves; not for concurrent use.
type salter struct{ mac hash.Hash }

func newSalter(k *keys) salter { return salter{hmac.New(sha256.New, k.salt)} }

func (s salter) salt(tag record.Hash) (salt record.Hash) {
	s.mac.Reset()
	s.mac.Write(tag[:])
	s.mac.Sum(salt[:0])
	return salt
}

// fill is the hash that stands for a place of the tree below which there is nobody.
// To everybody else it looks like any other hash.
func (k *keys) fill(level int, prefix uint64) record.Hash {
	var b [1 + 32 + 1 + 8]byte
	b[0] = 0x03 // node/answer's hashes begin with 0, 1 and 2
	copy(b[1:], k.filler)
	b[33] = byte(level)
	binary.BigEndian.PutUint64(b[34:], prefix)
	return sha256.Sum256(b[:])
}

// subtree is the hash of the node at a level under a prefix of that many bits, whose
// leaves are slots in order.
func (k *keys) subtree(slots []slot, level int, prefix uint64) record.Hash {
	switch {
	case len(slots) == 0:
		return k.fill(level, prefix)
	case len(slots) == 1:
		return k.lone(&slots[0], level)
	case level == depth:
		panic("epoch: two leaves in one place") // Build keeps one
	}
	i := split(slots, level)
	left, right := k.subtree(slots[:i], level+1, prefix<<1), k.subtree(slots[i:], level+1, prefix<<1|1)
	return answer.Node(&left, &right)
}

// lone is subtree of one leaf.
func (k *keys) lone(s *slot, level int) record.Hash {
	h, at := s.leaf, s.position
	for l := depth; l > level; l-- {
		beside := k.fill(l, at^1)
		if at&1 == 0 {
			h = answer.Node(&h, &beside)
		} else {
			h = answer.Node(&beside, &h)
		}
		at >>= 1
	}
	return h
}

// split is how many of the slots under one node are on its left.
func split(slots []slot, level int) int {
	bit := depth - 1 - level
	return sort.Search(len(slots), func(i int) bool { return slots[i].position>>bit&1 == 1 })
}

// path puts the hashes beside the way from a position up to a level into path, the
// leaf's neighbour first.
func (k *keys) path(slots []slot, position uint64, level int, path *[depth]record.Hash) {
	for l := level; l < depth; l++ {
		bit := depth - 1 - l
		here := position >> bit
		i := split(slots, l)
		if here&1 == 0 {
			path[bit] = k.subtree(slots[i:], l+1, here^1)
			slots = slots[:i]
		} else {
			path[bit] = k.subtree(slots[:i], l+1, here^1)
			slots = slots[i:]
		}
	}
}

// levelOf is the level down to which the nodes of a tree are kept: about four
// subjects stand under each of them.
func levelOf(subjects uint64) int {
	l := shareBits
	for l < maxLevel && subjects>>l > 4 {
		l++
	}
	return l
}

// Trees are built in shares of the position, each in memory by itself.
const (
	shareBits = 10
	shares    = 1 << shareBits
	maxLevel  = 22
)

// leaf is one subject's answer on its way into the tree.
type leaf struct {
	tag    record.Hash
	hash   record.Hash
	output byte
}

// arrange orders the leaves of a share and keeps those that have a place of their
// own and something to say. Two rows for one subject say nothing: it is answered
// NO_RECORD, as a look-up would. So are two subjects whose places are the same, which
// happens to one pair in five hundred million of them.
func arrange(leaves []leaf, silent byte) (slots []slot, twice, collided uint64) {
	slices.SortFunc(leaves, func(a, b leaf) int { return a.tag.Cmp(b.tag) })
	slots = make([]slot, 0, len(leaves))
	for i := 0; i < len(leaves); {
		at := answer.Position(leaves[i].tag)
		j, same := i+1, true
		for j < len(leaves) && answer.Position(leaves[j].tag) == at {
			same = same && leaves[j].tag == leaves[i].tag
			j++
		}
		switch {
		case j == i+1:
			if leaves[i].output != silent {
				slots = append(slots, slot{at, leaves[i].output, leaves[i].hash})
			}
		case same:
			twice++
		default:
			collided += uint64(j - i)
		}
		i = j
	}
	return slots, twice, collided
}
