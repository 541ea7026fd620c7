// Package backup owns the format of a node's backup: one age file, and beside it
// the list of its hashes.
//
// The age file (age-encryption.org/v1, binary, to public keys) holds a tar archive:
//
//	about.json              whose backup it is and of which network, and its format
//	config.yaml genesis.json node.json keys/NAME.key.json
//	private.db              a consistent copy of the database
//	snapshot/manifest       of a node that has pruned blocks: what state it begins with
//	blocks/NNNNNNNNNNNN     blocks with their certificates from that height on, in order
//	headers/NNNNNNNNNNNN    between those: headers with certificates, of pruned blocks
//	snapshot/NNNNNNNNNNNN   the chunks that the manifest names, by number
//	list.json               name, size and SHA-256 of every entry before it
//
// Entries come in that order, each name at most once, and no others. The list of
// hashes beside it (Seal) names segments of the encrypted file, so that anybody can
// tell a whole copy from a damaged one without a key.
//
// It promises that writing and reading hold one piece at a time in memory; that a
// reader hands out no archive as complete that was cut, changed or put together
// from several; and that no name in an archive leads outside a node's home. It
// leaves to package node what the entries mean, and that neither a vote key nor an
// ordering log is among them.
package backup

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Format is the version of what this program writes. It reads format 1 too, in which
// there is no snapshot and no block is left out.
const Format = 2

// Names of entries.
const (
	AboutName   = "about.json"
	ConfigName  = "config.yaml"
	GenesisName = "genesis.json"
	CardName    = "node.json"
	PrivateName = "private.db"
	ListName    = "list.json"
	keysDir     = "keys/"
	blocksDir   = "blocks/"
	headersDir  = "headers/"
	snapshotDir = "snapshot/"

	ManifestName = snapshotDir + "manifest"
)

// Limits of an archive.
const (
	MaxSmall   = 1 << 20  // bytes of an entry that is neither private.db nor blocks
	maxEntries = 1 << 20  // entries of an archive
	maxChunk   = 64 << 20 // bytes of an entry of blocks or headers, or of a chunk
	// MaxManifest bounds the manifest of a snapshot, in bytes.
	MaxManifest = 8 << 20
	maxList     = 256 << 20 // bytes of list.json
)

// ErrDamaged: the archive is not what was written. Errors say where.
var ErrDamaged = errors.New("the backup is damaged: use another copy of it, or an older backup")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

var (
	keyName   = regexp.MustCompile(`^keys/[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.key\.json$`)
	blockName = regexp.MustCompile(`^(blocks|headers)/[0-9]{12}$`)
	chunkName = regexp.MustCompile(`^snapshot/[0-9]{12}$`)
)

// KeyName returns the entry name of a key file.
func KeyName(name string) string { return keysDir + name + ".key.json" }

// IsKey reports whether an entry is a key file.
func IsKey(entry string) bool { return strings.HasPrefix(entry, keysDir) }

// BlocksName returns the name of the entry whose first block is at a height.
func BlocksName(first uint64) string { return fmt.Sprintf("%s%012d", blocksDir, first) }

// HeadersName returns the name of the entry whose first header is of a height.
func HeadersName(first uint64) string { return fmt.Sprintf("%s%012d", headersDir, first) }

// IsHeaders reports whether an entry holds headers of blocks that are left out.
func IsHeaders(entry string) bool { return strings.HasPrefix(entry, headersDir) }

// ChunkName returns the name of the entry that holds a chunk of the snapshot.
func ChunkName(i uint64) string { return fmt.Sprintf("%s%012d", snapshotDir, i) }

// IsChunk reports whether an entry is a chunk of the snapshot.
func IsChunk(entry string) bool {
	return entry != ManifestName && strings.HasPrefix(entry, snapshotDir)
}

// IsBlocks reports whether an entry holds blocks.
func IsBlocks(entry string) bool { return strings.HasPrefix(entry, blocksDir) }

// rank orders the entries of an archive; 0 for a name that is none.
func rank(name string) int {
	switch {
	case name == AboutName:
		return 1
	case name == ConfigName:
		return 2
	case name == GenesisName:
		return 3
	case name == CardName:
		return 4
	case keyName.MatchString(name) && !strings.Contains(name, ".."):
		return 5
	case name == PrivateName:
		return 6
	case name == ManifestName:
		return 7
	case blockName.MatchString(name):
		return 8
	case chunkName.MatchString(name):
		return 9
	case name == ListName:
		return 10
	}
	return 0
}

// place is by what entries of one rank are ordered: those of blocks and headers by
// height alone.
func place(name string, rank int) string {
	if rank == 8 {
		return name[strings.IndexByte(name, '/'):]
	}
	return name
}

// order refuses an entry that may not stand at its place.
type order struct {
	rank int
	name string
}

func (o *order) next(name string, size int64) error {
	r := rank(name)
	limit := int64(MaxSmall)
	switch r {
	case 0:
		return fmt.Errorf("entry %.100q is none of a backup", name)
	case 6:
		limit = 1 << 62
	case 7:
		limit = MaxManifest
	case 8, 9:
		limit = maxChunk
	case 10:
		limit = maxList
	}
	if r < o.rank || r == o.rank && place(name, r) <= place(o.name, r) {
		return fmt.Errorf("entry %q stands after %q", name, o.name)
	}
	if size < 0 || size > limit {
		return fmt.Errorf("entry %q has %d bytes, at most %d are allowed", name, size, limit)
	}
	o.rank, o.name = r, name
	return nil
}

// About says whose backup it is.
type About struct {
	Format   int      `json:"format"`
	ChainID  string   `json:"chainId"`
	Network  string   `json:"network"`
	Member   string   `json:"member"`
	NodeID   string   `json:"nodeId"`
	Kind     string   `json:"kind"` // validator or observer
	Software string   `json:"software"`
	Made     string   `json:"made"`     // RFC 3339
	VoteKeys []string `json:"voteKeys"` // addresses of the node's vote keys, which are not in the backup
	Blocks   bool     `json:"blocks"`   // whether blocks are in it
}

func (a *About) check() error {
	if a.Format != Format && a.Format != 1 {
		return fmt.Errorf("the backup has format %d, this program reads up to %d: use the release that wrote it", a.Format, Format)
	}
	if len(a.ChainID) != 66 || a.Member == "" || a.NodeID == "" {
		return damaged("%s names no node", AboutName)
	}
	return nil
}
