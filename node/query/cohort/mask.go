package cohort

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"github.com/assent-network/assent/node/query/pair"
)

// Seed is what a pair's masks of one session are drawn from. An authority that
// audits the session is shown it, and learns nothing of other sessions. It does not
// print itself.
type Seed [32]byte

// Format implements fmt.Formatter: every verb shows a mark.
func (Seed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[seed]") }

// LogValue implements slog.LogValuer in the same way.
func (Seed) LogValue() slog.Value { return slog.StringValue("[seed]") }

// SeedOf is a pair's for a session, of two seats in either order.
func SeedOf(s pair.Secret, session Hash, a, b int) Seed {
	return Seed(s.Derive(session[:], string(join(domainMask, []byte{byte(min(a, b)), byte(max(a, b))})), 32))
}

// hash commits to a seed in a share. Both banks of a pair state it.
func (s Seed) hash() Hash { return sha256.Sum256(join(domainSeed, s[:])) }

// masks are the pair's n numbers from a place on: AES-256 in counter mode, eight
// bytes each. The count has place 0, the other cells follow.
func (s Seed) masks(from, n int) []uint64 {
	block, err := aes.NewCipher(s[:])
	if err != nil { // only for a key of another length
		panic(fmt.Sprintf("cohort: %v", err))
	}
	stream := make([]byte, 8*(from+n))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(stream, stream)
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.BigEndian.Uint64(stream[8*(from+i):])
	}
	return out
}
