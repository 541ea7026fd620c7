package epoch

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

const (
	leafBytes  = 32 + 32 + 1
	chunkSlots = 63
	chunkBytes = chunkSlots * leafBytes
)

// spill keeps leaves on disk in shares of their position until the tree is built:
// 4 KiB of memory for each share and four bytes for each 63 leaves. The file has no
// name, and its key is in memory only: nothing is left of it after a crash.
type spill struct {
	file  *os.File
	block cipher.Block

	mu     sync.Mutex // guards what follows
	share  [shares]share
	chunks uint32 // written
}

type share struct {
	buf    []byte
	chunks []uint32 // in the file, full ones
}

func newSpill(dir string) (*spill, error) {
	f, err := os.CreateTemp(dir, "leaves-*"+building)
	if err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	if err := os.Remove(filepath.Clean(f.Name())); err != nil {
		f.Close()
		return nil, fmt.Errorf("spill: %w", err)
	}
	var key [32]byte
	rand.Read(key[:]) // does not fail
	block, err := aes.NewCipher(key[:])
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("spill: %w", err)
	}
	return &spill{file: f, block: block}, nil
}

// crypt encrypts or decrypts a chunk.
func (s *spill) crypt(chunk uint32, b []byte) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint32(iv[:], chunk)
	cipher.NewCTR(s.block, iv[:]).XORKeyStream(b, b)
}

// add takes leaves.
func (s *spill) add(leaves []leaf) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range leaves {
		l := &leaves[i]
		sh := &s.share[binary.BigEndian.Uint16(l.tag[:])>>(16-shareBits)]
		if sh.buf == nil {
			sh.buf = make([]byte, 0, chunkBytes)
		}
		sh.buf = append(append(append(sh.buf, l.tag[:]...), l.hash[:]...), l.output)
		if len(sh.buf) < chunkBytes {
			continue
		}
		s.crypt(s.chunks, sh.buf)
		if _, err := s.file.WriteAt(sh.buf, int64(s.chunks)*chunkBytes); err != nil {
			return fmt.Errorf("spill: %w", err)
		}
		sh.chunks = append(sh.chunks, s.chunks)
		s.chunks++
		sh.buf = sh.buf[:0]
	}
	return nil
}

// count is how many leaves a share has.
func (s *spill) count(i int) uint64 {
	return uint64(len(s.share[i].chunks))*chunkSlots + uint64(len(s.share[i].buf)/leafBytes)
}

// take returns a share's leaves. No add may be under way.
func (s *spill) take(i int) ([]leaf, error) {
	sh := &s.share[i]
	out := make([]leaf, 0, s.count(i))
	split := func(b []byte) {
		for ; len(b) > 0; b = b[leafBytes:] {
			var l leaf
			copy(l.tag[:], b)
			copy(l.hash[:], b[32:])
			l.output = b[64]
			out = append(out, l)
		}
	}
	buf := make([]byte, chunkBytes)
	for _, c := range sh.chunks {
		if _, err := s.file.ReadAt(buf, int64(c)*chunkBytes); err != nil {
			return nil, fmt.Errorf("spill: %w", err)
		}
		s.crypt(c, buf)
		split(buf)
	}
	split(sh.buf)
	return out, nil
}

func (s *spill) close() error { return s.file.Close() }
