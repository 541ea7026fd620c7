// Package scan looks for values that must not be where they are looked for: what
// identifies a person, in everything a node keeps or logs.
package scan

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
)

// Needles finds any of many values in bytes, each in several disguises: as it
// is, as hex, as base64 at any offset, and as the sha256 and keccak256 digest of
// the value, raw, in hex and in base64. Every disguise has at least 8 bytes; it
// is looked up by its first 8.
type Needles struct {
	byHead map[uint64][]disguise
	first  [256]bool // of any disguise
}

type disguise struct {
	bytes []byte
	what  string // the kind of value and the disguise, never the value
}

const headBytes = 8

// New returns needles without a value.
func New() *Needles { return &Needles{byHead: make(map[uint64][]disguise)} }

// Add remembers a value of at least 8 bytes.
func (n *Needles) Add(kind, value string) error {
	if len(value) < headBytes {
		return fmt.Errorf("scan: a %s has %d bytes, at least %d are needed to tell it from chance", kind, len(value), headBytes)
	}
	sha := sha256.Sum256([]byte(value))
	for _, d := range []struct {
		how string
		raw []byte
	}{{"", []byte(value)}, {" sha256", sha[:]}, {" keccak256", crypto.Keccak256([]byte(value))}} {
		n.put(kind+d.how, d.raw)
		h := hex.EncodeToString(d.raw)
		n.put(kind+d.how+" hex", []byte(h))
		if up := strings.ToUpper(h); up != h {
			n.put(kind+d.how+" hex", []byte(up))
		}
		for off := range 3 {
			for _, b64 := range base64At(d.raw, off) {
				n.put(kind+d.how+" base64", b64)
			}
		}
	}
	return nil
}

func (n *Needles) put(what string, b []byte) {
	if len(b) < headBytes {
		return
	}
	head := binary.BigEndian.Uint64(b)
	n.byHead[head] = append(n.byHead[head], disguise{b, what})
	n.first[b[0]] = true
}

// base64At returns the characters that raw gives when it stands off bytes into
// a base64 text, in both alphabets, without those that its neighbours share.
func base64At(raw []byte, off int) [][]byte {
	padded := append(make([]byte, off), raw...)
	from, to := (off*8+5)/6, len(padded)*8/6
	std := base64.RawStdEncoding.EncodeToString(padded)[from:to]
	url := base64.RawURLEncoding.EncodeToString(padded)[from:to]
	if std == url {
		return [][]byte{[]byte(std)}
	}
	return [][]byte{[]byte(std), []byte(url)}
}

// Count returns how often a disguise occurs in b, and what the first was.
func (n *Needles) Count(b []byte) (found int, what string) {
	for i := 0; i+headBytes <= len(b); i++ {
		if !n.first[b[i]] {
			continue
		}
		for _, d := range n.byHead[binary.BigEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], d.bytes) {
				if found++; what == "" {
					what = d.what
				}
			}
		}
	}
	return found, what
}

// Finding says where something was found that must not be there.
type Finding struct {
	Where string
	What  string
	Times int
}

// Rows walks the decoded content of one place, one piece at a time.
type Rows func(visit func(where string, content []byte) error) error

// Scan looks for n in every piece of every place.
func (n *Needles) Scan(places []Rows) (found []Finding, pieces int, err error) {
	for _, walk := range places {
		err := walk(func(where string, content []byte) error {
			pieces++
			if k, what := n.Count(content); k > 0 {
				found = append(found, Finding{where, what, k})
			}
			return nil
		})
		if err != nil {
			return found, pieces, fmt.Errorf("scan: %w", err)
		}
	}
	return found, pieces, nil
}

// FileRows walks the files below dir whose name passes keep, each as one piece.
func FileRows(dir string, keep func(path string) bool) Rows {
	return func(visit func(string, []byte) error) error {
		return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !keep(path) {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return visit(path, b)
		})
	}
}
