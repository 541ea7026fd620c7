package state

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// storedLeaves walks what is stored of the receipt log in order: outcomes, and
// what is left of pruned ones.
type storedLeaves struct {
	whole, gone     iterator.Iterator
	atWhole, atGone bool
	next            uint64 // position
	passed          bool   // the row before next was given out, its iterator still stands on it
	passedGone      bool   // that is gone, not whole
}

func newStoredLeaves(snap *leveldb.Snapshot) *storedLeaves {
	l := &storedLeaves{
		whole: snap.NewIterator(util.BytesPrefix([]byte{prefixOutcome}), passing),
		gone:  snap.NewIterator(util.BytesPrefix([]byte{prefixPruned}), passing),
	}
	l.atWhole, l.atGone = l.whole.Next(), l.gone.Next()
	return l
}

func (l *storedLeaves) close() {
	l.whole.Release()
	l.gone.Release()
}

// more reports whether anything is stored at or above the next position.
func (l *storedLeaves) more() bool {
	l.advance()
	return l.atWhole || l.atGone
}

// advance leaves the row that was given out last: not earlier, for its bytes are
// the iterator's.
func (l *storedLeaves) advance() {
	switch {
	case !l.passed:
	case l.passedGone:
		l.atGone = l.gone.Next()
	default:
		l.atWhole = l.whole.Next()
	}
	l.passed = false
}

// leaf returns the outcome at the next position, or what is left of it.
func (l *storedLeaves) leaf() (position uint64, whole *outcomeRow, gone *prunedRow, err error) {
	position, row, pruned, err := l.row()
	switch {
	case err != nil:
	case pruned:
		gone, err = decodePruned(position, row)
	default:
		whole, err = decodeOutcomeRow(position, row)
	}
	return position, whole, gone, err
}

// row returns what is stored at the next position, and whether that is what is
// left of a pruned outcome. The bytes are valid until the next call of row or more.
func (l *storedLeaves) row() (position uint64, row []byte, pruned bool, err error) {
	position = l.next
	l.advance()
	l.next++
	isWhole := l.atWhole && bytes.Equal(l.whole.Key(), keyOutcome(position))
	isGone := l.atGone && bytes.Equal(l.gone.Key(), keyPruned(position))
	switch {
	case isWhole && isGone:
		err = corrupt("receipt log", fmt.Errorf("row %d is there, and pruned as well", position))
	case isWhole:
		row, l.passed, l.passedGone = l.whole.Value(), true, false
	case isGone:
		row, pruned, l.passed, l.passedGone = l.gone.Value(), true, true, true
	default:
		err = errors.Join(l.whole.Error(), l.gone.Error())
		if err == nil {
			err = corrupt("receipt log", fmt.Errorf("row %d is missing", position))
		}
	}
	return position, row, pruned, err
}
