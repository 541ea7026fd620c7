package epoch

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// A file is a head of headBytes, then three parts, encrypted: the slots of all
// shares, the index of the lowest kept level (start and count for each of its
// nodes), and the nodes of levels 0 to that one.
const (
	magic     = "assent/epoch-file/1"
	headBytes = 4096
	slotBytes = 6 + 1 + 32
	hashBytes = 32
	// warmLevel is the level down to which nodes are kept in memory, 128 KiB.
	warmLevel = 11
	// maxBucket bounds the slots under one kept node: forty times what chance gives.
	maxBucket = 4096
)

// head says what a file holds. Its MAC is under a key of the tree.
type head struct {
	anchor record.Anchor // its root too
	slots  uint64        // places for slots, some of them empty
	leaves uint64
	level  int
}

func (h *head) indexAt() int64 { return headBytes + int64(h.slots)*slotBytes }
func (h *head) nodesAt() int64 { return h.indexAt() + 8<<h.level }
func (h *head) size() int64    { return h.nodesAt() + (2<<h.level-1)*hashBytes }
func (h *head) nodeAt(level int, i uint64) int64 {
	return h.nodesAt() + int64(1<<level-1+i)*hashBytes
}

// encode returns the head's bytes.
func (h *head) encode(k *keys) ([]byte, error) {
	anchor, err := record.Encode(&h.anchor)
	if err != nil {
		return nil, err
	}
	b := make([]byte, headBytes)
	n := copy(b, magic)
	b[n] = byte(h.level)
	binary.BigEndian.PutUint64(b[n+1:], h.slots)
	binary.BigEndian.PutUint64(b[n+9:], h.leaves)
	binary.BigEndian.PutUint16(b[n+17:], uint16(len(anchor)))
	if len(anchor) > headBytes-n-19-sha256.Size {
		return nil, errors.New("the anchor is too long for a file's head")
	}
	copy(b[n+19:], anchor)
	mac := hmac.New(sha256.New, k.head)
	mac.Write(b[:headBytes-sha256.Size])
	mac.Sum(b[:headBytes-sha256.Size])
	return b, nil
}

// decodeHead reads a head. The MAC is for openFile to check.
func decodeHead(b []byte) (*head, error) {
	bad := func(what string) (*head, error) { return nil, fmt.Errorf("%w: %s", ErrDamaged, what) }
	if len(b) != headBytes || !bytes.HasPrefix(b, []byte(magic)) {
		return bad("not an epoch file of this version")
	}
	rest := b[len(magic):]
	h := &head{level: int(rest[0]), slots: binary.BigEndian.Uint64(rest[1:]), leaves: binary.BigEndian.Uint64(rest[9:])}
	n := int(binary.BigEndian.Uint16(rest[17:]))
	if h.level < shareBits || h.level > maxLevel || h.slots > 1<<32 || h.leaves > h.slots || n > len(rest)-19-sha256.Size {
		return bad("an impossible head")
	}
	if err := record.Decode(rest[19:19+n], &h.anchor); err != nil {
		return bad("no anchor in its head")
	}
	return h, nil
}

// file is an open epoch file.
type file struct {
	f     *os.File
	head  *head
	keys  *keys
	tree  record.Hash
	block cipher.Block
	warm  []record.Hash // nodes of levels 0 to warmLevel, or fewer
	users atomic.Int32  // 1 for the store, and one for each find
}

func openFile(path string, tree record.Hash, k *keys, chainID record.Hash) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	out, err := readFile(f, tree, k, chainID)
	if err != nil {
		f.Close()
		return nil, err
	}
	return out, nil
}

func readFile(f *os.File, tree record.Hash, k *keys, chainID record.Hash) (*file, error) {
	b := make([]byte, headBytes)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%w: no head", ErrDamaged)
	}
	h, err := decodeHead(b)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, k.head)
	mac.Write(b[:headBytes-sha256.Size])
	if !hmac.Equal(mac.Sum(nil), b[headBytes-sha256.Size:]) || answer.TreeID(chainID, &h.anchor) != tree {
		return nil, fmt.Errorf("%w: its head was not written with this member's tag key, or for another network", ErrDamaged)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != h.size() {
		return nil, fmt.Errorf("%w: it has %d bytes, its head says %d", ErrDamaged, info.Size(), h.size())
	}
	block, err := aes.NewCipher(k.cipher)
	if err != nil {
		return nil, err
	}
	out := &file{f: f, head: h, keys: k, tree: tree, block: block}
	out.users.Store(1)
	raw, err := out.read(h.nodesAt(), (2<<min(warmLevel, h.level)-1)*hashBytes)
	if err != nil {
		return nil, err
	}
	out.warm = make([]record.Hash, len(raw)/hashBytes)
	for i := range out.warm {
		copy(out.warm[i][:], raw[i*hashBytes:])
	}
	return out, nil
}

func (f *file) hold() { f.users.Add(1) }

func (f *file) release() {
	if f.users.Add(-1) == 0 {
		f.f.Close() // only read from
	}
}

// drop is release for the store's own use.
func (f *file) drop() { f.release() }

func (f *file) close() error {
	if f.users.Add(-1) == 0 {
		return f.f.Close()
	}
	return nil
}

// crypt encrypts or decrypts bytes that stand at an offset.
func crypt(block cipher.Block, offset int64, b []byte) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(offset/aes.BlockSize))
	stream := cipher.NewCTR(block, iv[:])
	if skip := offset % aes.BlockSize; skip != 0 {
		var lead [aes.BlockSize]byte
		stream.XORKeyStream(lead[:skip], lead[:skip])
	}
	stream.XORKeyStream(b, b)
}

func (f *file) read(offset int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := f.f.ReadAt(b, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: it is too short", ErrDamaged)
		}
		return nil, fmt.Errorf("read anchored answers: %w", err)
	}
	crypt(f.block, offset, b)
	return b, nil
}

func (f *file) node(level int, i uint64) (record.Hash, error) {
	if at := uint64(1)<<level - 1 + i; at < uint64(len(f.warm)) {
		return f.warm[at], nil
	}
	b, err := f.read(f.head.nodeAt(level, i), hashBytes)
	if err != nil {
		return record.Hash{}, err
	}
	return record.Hash(b), nil
}

// bucket returns the slots under a node of the lowest kept level.
func (f *file) bucket(i uint64) ([]slot, error) {
	b, err := f.read(f.head.indexAt()+8*int64(i), 8)
	if err != nil {
		return nil, err
	}
	start, count := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if count > maxBucket || start+count > f.head.slots {
		return nil, fmt.Errorf("%w: an impossible entry of its index", ErrDamaged)
	}
	raw, err := f.read(headBytes+int64(start)*slotBytes, int(count)*slotBytes)
	if err != nil {
		return nil, err
	}
	slots := make([]slot, count)
	for n := range slots {
		slots[n] = decodeSlot(raw[n*slotBytes:])
		if slots[n].position>>(depth-f.head.level) != i || n > 0 && slots[n-1].position >= slots[n].position {
			return nil, fmt.Errorf("%w: leaves out of order", ErrDamaged)
		}
	}
	return slots, nil
}

func encodeSlot(b []byte, s *slot) []byte {
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], s.position)
	return append(append(append(b, p[2:]...), s.output), s.leaf[:]...)
}

func decodeSlot(b []byte) slot {
	var p [8]byte
	copy(p[2:], b[:6])
	return slot{binary.BigEndian.Uint64(p[:]), b[6], record.Hash(b[7:slotBytes])}
}

// find opens the leaf of a subject. Whether there is one or not, it reads, hashes
// and checks the same way up to the root, which must be the anchored one.
func (f *file) find(root record.Hash, outputs []string, subject string) (value string, proof []byte, err error) {
	level := f.head.level
	tag := answer.Tag(f.tree, subject)
	position := answer.Position(tag)
	slots, err := f.bucket(position >> (depth - level))
	if err != nil {
		return "", nil, err
	}
	p := &answer.Proof{Salt: newSalter(f.keys).salt(tag)}
	f.keys.path(slots, position, level, &p.Path)
	for l := level; l > 0; l-- {
		if p.Path[depth-l], err = f.node(l, position>>(depth-l)^1); err != nil {
			return "", nil, err
		}
	}
	h := f.keys.subtree(slots, level, position>>(depth-level))
	for l := level; l > 0; l-- {
		if position>>(depth-l)&1 == 0 {
			h = answer.Node(&h, &p.Path[depth-l])
		} else {
			h = answer.Node(&p.Path[depth-l], &h)
		}
	}
	if h != root {
		return "", nil, fmt.Errorf("%w: it does not lead to the anchored root", ErrDamaged)
	}
	// The leaf says which output it is: in another subject's place no output hashes
	// to it.
	value = record.NoRecord
	wire := p.Encode()
	var own record.Hash
	for i := range slots {
		if slots[i].position == position {
			own = slots[i].leaf
		}
	}
	for _, o := range outputs {
		if answer.Leaf(p.Salt, tag, o) == own {
			value = o
		}
	}
	if value == record.NoRecord {
		return value, nil, nil
	}
	return value, wire, nil
}
