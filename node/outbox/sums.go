package outbox

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"github.com/assent-network/assent/node/durable"
)

// SQLite knows no checksums of its pages: a wrong bit in an account or an answer
// would be served as if it had been written. So a database that is closed leaves the
// hashes of its pieces beside it, and opening it compares them and takes them away.
// After a crash there are none; then the form of every page is checked, and the log.

// sumsSuffix ends the name of the file of hashes.
const sumsSuffix = ".sums"

// sumPiece is how much of the file one hash covers.
const sumPiece = 1 << 20

const sumsHead = "assent/private.db/sums/1"

// writeSums hashes a closed database.
func writeSums(path string) error {
	if fi, err := os.Stat(path + "-wal"); err == nil && fi.Size() > 0 {
		return nil // somebody else has it open
	}
	var out bytes.Buffer
	if err := eachPiece(path, func(sum [sha256.Size]byte) { fmt.Fprintf(&out, "%x\n", sum) }); err != nil {
		return err
	}
	text := sumsHead + "\n" + out.String()
	text += fmt.Sprintf("end %x\n", sha256.Sum256([]byte(text)))
	return durable.WriteFile(path+sumsSuffix, []byte(text))
}

// eachPiece hashes a file piece by piece.
func eachPiece(path string, f func([sha256.Size]byte)) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		h := sha256.New()
		n, err := io.Copy(h, io.LimitReader(in, sumPiece))
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		f([sha256.Size]byte(h.Sum(nil)))
	}
}

// parseSums reads a file of hashes; false if it is none, or damaged itself.
func parseSums(b []byte) (sums [][sha256.Size]byte, ok bool) {
	text := string(b)
	at := strings.LastIndex(text, "end ")
	if at < 0 || !strings.HasPrefix(text, sumsHead+"\n") || text[at:] != fmt.Sprintf("end %x\n", sha256.Sum256([]byte(text[:at]))) {
		return nil, false
	}
	lines := bufio.NewScanner(strings.NewReader(text[len(sumsHead)+1 : at]))
	for lines.Scan() {
		sum, err := hex.DecodeString(lines.Text())
		if err != nil || len(sum) != sha256.Size {
			return nil, false
		}
		sums = append(sums, [sha256.Size]byte(sum))
	}
	return sums, true
}

// checkSums compares a database that nobody has open with its hashes. sealed says
// that there were any, so that every byte was compared.
func checkSums(path string) (sealed bool, err error) {
	b, err := os.ReadFile(path + sumsSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want, ok := parseSums(b)
	if !ok {
		return false, nil // they are damaged, not the database: it is checked as after a crash
	}
	i, wrong := 0, -1
	err = eachPiece(path, func(sum [sha256.Size]byte) {
		if wrong < 0 && (i >= len(want) || want[i] != sum) {
			wrong = i
		}
		i++
	})
	if err == nil && wrong < 0 && i < len(want) {
		wrong = i
	}
	if err == nil && wrong >= 0 {
		err = wrongPiece(path, wrong)
	}
	return true, err
}

func wrongPiece(path string, i int) error {
	return fmt.Errorf("%s: %w (from byte %d on it is not what was there when the node stopped; whoever changed it on purpose removes %s)",
		path, ErrDamaged, i*sumPiece, path+sumsSuffix)
}

// checkBefore looks at the files of a database before it is opened for writing, and
// takes the hashes away, which the first write would make wrong. sealed is checkSums'.
func checkBefore(path string) (sealed bool, err error) {
	if sealed, err = checkSums(path); err != nil {
		return sealed, err
	}
	if err := checkJournal(path + "-wal"); err != nil {
		return sealed, err
	}
	if err := os.Remove(path + sumsSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return sealed, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return sealed, err
	}
	return sealed, errors.Join(dir.Sync(), dir.Close())
}

// SQLite's write-ahead log: 32 bytes of head, then frames of 24 bytes and a page.
const (
	walHead  = 32
	walFrame = 24
)

// checkJournal finds damage in SQLite's log that SQLite would take for the torn end
// of a crash: it would forget every transaction from there on. A transaction that
// was synced cannot be torn, so a wrong frame is damage if a later transaction
// follows it. In the last one the two cannot be told apart: a power cut leaves any
// part of it, in any order, and elsewhere what stood there before. But a frame whose
// salts are the log's except for a byte was whole once, and one behind it is later.
func checkJournal(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if at, bad := journalDamage(b); bad {
		return fmt.Errorf("%s: %w (damaged at byte %d, and synced transactions follow)", path, ErrDamaged, at)
	}
	return nil
}

func journalDamage(b []byte) (at int, bad bool) {
	if len(b) <= walHead {
		return 0, false
	}
	order, magic := binary.ByteOrder(binary.BigEndian), binary.BigEndian.Uint32(b)
	if magic&1 == 0 {
		order = binary.LittleEndian
	}
	page := int(binary.BigEndian.Uint32(b[8:]))
	s0, s1 := walSum(order, 0, 0, b[:24])
	if magic&^1 != 0x377f0682 || page < 512 || page > 1<<16 || s0 != binary.BigEndian.Uint32(b[24:]) || s1 != binary.BigEndian.Uint32(b[28:]) {
		return 0, true // its head is written before any frame, and synced
	}
	salts := binary.BigEndian.Uint64(b[16:])
	size, broken, damaged, commits := walFrame+page, -1, false, 0
	for at := walHead; at+size <= len(b); at += size {
		frame := b[at : at+size]
		differ := bits.OnesCount64(binary.BigEndian.Uint64(frame[8:]) ^ salts)
		mine := differ == 0
		if broken < 0 {
			s0, s1 = walSum(order, s0, s1, frame[:8])
			s0, s1 = walSum(order, s0, s1, frame[walFrame:])
			if mine && s0 == binary.BigEndian.Uint32(frame[16:]) && s1 == binary.BigEndian.Uint32(frame[20:]) {
				continue
			}
			// Zeros and other rounds of the log differ in many bits.
			broken, damaged = at, !mine && differ <= 8
		} else if mine && (commits > 0 || damaged) {
			return broken, true
		}
		if mine && binary.BigEndian.Uint32(frame[4:]) != 0 {
			commits++
		}
	}
	return 0, false
}

// walSum goes on with SQLite's checksum over 8-byte pieces.
func walSum(order binary.ByteOrder, s0, s1 uint32, b []byte) (uint32, uint32) {
	for ; len(b) >= 8; b = b[8:] {
		s0 += order.Uint32(b) + s1
		s1 += order.Uint32(b[4:]) + s0
	}
	return s0, s1
}
