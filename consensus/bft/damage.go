package bft

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"os"
	"path/filepath"
	"slices"

	protos "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// The library takes every bad record of its last log file for a write that a crash
// tore, and cuts the file there. A record that was synced cannot be torn: if
// something follows it, or if one bit makes it right again, votes that have left
// this replica would be forgotten. Such a log is refused.

// recordHead is the length of a record and the checksum up to its end, each in
// four bytes, little-endian; the payload follows, filled up to a multiple of eight.
const recordHead = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkEnd reports damage in the last log file that is no torn end. A log that is
// sound, or that can be repaired, is nil.
func checkEnd(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+walSuffix))
	if err != nil || len(names) == 0 {
		return err
	}
	slices.Sort(names)
	last := names[len(names)-1]
	b, err := os.ReadFile(last)
	if err != nil {
		return err
	}
	if at, bad := tornOrDamaged(b); bad {
		return fmt.Errorf("%w: record at byte %d of %s is damaged and was not torn by a crash", ErrLogMismatch, at, last)
	}
	return nil
}

// tornOrDamaged walks the records of a log file. bad says that the one at a byte is
// damaged though it was whole on disk before.
func tornOrDamaged(b []byte) (at int, bad bool) {
	crc, end, ok := anchor(b)
	if !ok {
		// A crash leaves a file without its first record, and then nothing else.
		return 0, len(b) > end && end > 0 || len(b) >= 4*recordHead
	}
	for at = end; at < len(b); {
		sum, next, ok := record(b, at, crc)
		if !ok {
			return at, !torn(b, at, crc)
		}
		crc, at = sum, next
	}
	return at, false
}

// anchor reads the first record of a file, which carries the checksum that the
// records before it have come to.
func anchor(b []byte) (crc uint32, end int, ok bool) {
	_, sum, end, fits := head(b, 0)
	if !fits {
		return 0, 0, false
	}
	kind, ok := typeOf(b, 0, end)
	return sum, end, ok && kind == protos.LogRecord_CRC_ANCHOR
}

// head reads the head of a record and says whether the file holds the whole of it.
func head(b []byte, at int) (length int, sum uint32, end int, fits bool) {
	if at+recordHead > len(b) {
		return 0, 0, 0, false
	}
	h := binary.LittleEndian.Uint64(b[at:])
	length, sum = int(uint32(h)), uint32(h>>32)
	end = at + recordHead + length + (8-length%8)%8
	return length, sum, end, end <= len(b)
}

func typeOf(b []byte, at, end int) (protos.LogRecord_Type, bool) {
	length, _, _, _ := head(b, at)
	m := &protos.LogRecord{}
	if err := proto.Unmarshal(b[at+recordHead:at+recordHead+length], m); err != nil || end > len(b) {
		return 0, false
	}
	return m.Type, true
}

// record reads the record at a byte after those that have come to crc.
func record(b []byte, at int, crc uint32) (sum uint32, end int, ok bool) {
	_, sum, end, fits := head(b, at)
	if !fits {
		return 0, 0, false
	}
	kind, ok := typeOf(b, at, end)
	if !ok {
		return 0, 0, false
	}
	if kind == protos.LogRecord_CRC_ANCHOR {
		return sum, end, true
	}
	return sum, end, crc32.Update(crc, castagnoli, b[at+recordHead:end]) == sum
}

// torn reports whether the bad record at a byte may be the end of a file that a
// crash left: nothing follows it, and no single bit makes it right.
//
// A loss of power may leave a file that had grown, with zeros where its content had
// not come. Three cases:
//
//   - zeros from the payload's first byte to the end of the file: torn. A record that
//     was synced begins with a tag and holds more than one byte that is not zero, so
//     no wrong bit makes this of one; and nothing has left this replica for a record
//     that was not synced.
//   - zeros from somewhere within the payload: torn, unless a single bit explains it
//     too. Then both are possible, and the log is refused: of two explanations the
//     one that was written whole must be taken.
//   - zeros at the head, and content behind them: refused. It may be one record whose
//     first sector had not come. It may as well be a sector that the disk has lost, in
//     which several short records began that were synced: the checksum of what follows
//     continues one that stood in the zeros, so nothing tells the two apart, and to
//     cut there could forget votes that have left this replica.
func torn(b []byte, at int, crc uint32) bool {
	_, sum, end, fits := head(b, at)
	switch {
	case at+recordHead > len(b), !slices.ContainsFunc(b[at+recordHead:], notZero):
		return true
	case fits && slices.ContainsFunc(b[end:], notZero):
		return false
	case fits:
		difference := crc32.Update(crc, castagnoli, b[at+recordHead:end]) ^ sum
		if difference == 0 || oneBit(b[at+recordHead:end], difference) {
			return false
		}
	}
	// Cut, or its length is damaged. In the second case its checksum fits somewhere,
	// or that of a record that follows it does.
	soFar := crc
	for p := at + recordHead; p < len(b); {
		next := min(p+8, len(b))
		soFar = crc32.Update(soFar, castagnoli, b[p:next])
		p = next
		if soFar == sum {
			return false
		}
		if p+recordHead < len(b) && slices.Contains(recordTags, b[p+recordHead]) {
			if _, _, ok := record(b, p, sum); ok {
				return false
			}
		}
	}
	return true
}

func notZero(x byte) bool { return x != 0 }

// recordTags are the bytes with which a record's payload can begin.
var recordTags = []byte{0x08, 0x10, 0x1a}

// oneBit reports whether one wrong bit of b, or of the checksum itself, makes the
// difference between two checksums.
func oneBit(b []byte, difference uint32) bool {
	if bits.OnesCount32(difference) == 1 {
		return true
	}
	// What a wrong bit of the last byte does to the checksum, and from there of each
	// byte before it: a checksum is linear.
	var effect [8]uint32
	for i := range effect {
		effect[i] = castagnoli[1<<i]
	}
	for range b {
		for i, e := range effect {
			if e == difference {
				return true
			}
			effect[i] = e>>8 ^ castagnoli[byte(e)]
		}
	}
	return false
}
