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
}

func newStoredLeaves(snap *leveldb.Snapshot) *storedLeaves {
	l := &storedLeaves{
		whole: snap.NewIterator(util.BytesPrefix([]byte{prefixOutcome}), nil),
		gone:  snap.NewIterator(util.BytesPrefix([]byte{prefixPruned}), nil),
	}
	l.atWhole, l.atGone = l.whole.Next(), l.gone.Next()
	return l
}

func (l *storedLeaves) close() {
	l.whole.Release()
	l.gone.Release()
}

// more reports whether anything is stored at or above the next position.
func (l *storedLeaves) more() bool { return l.atWhole || l.atGone }

// leaf returns the outcome at the next position, or what is left of it.
func (l *storedLeaves) leaf() (position uint64, whole *outcomeRow, gone *prunedRow, err error) {
	position = l.next
	l.next++
	isWhole := l.atWhole && bytes.Equal(l.whole.Key(), keyOutcome(position))
	isGone := l.atGone && bytes.Equal(l.gone.Key(), keyPruned(position))
	switch {
	case isWhole && isGone:
		err = corrupt("receipt log", fmt.Errorf("row %d is there, and pruned as well", position))
	case isWhole:
		if whole, err = decodeOutcomeRow(position, l.whole.Value()); err == nil {
			l.atWhole = l.whole.Next()
		}
	case isGone:
		if gone, err = decodePruned(position, l.gone.Value()); err == nil {
			l.atGone = l.gone.Next()
		}
	default:
		err = errors.Join(l.whole.Error(), l.gone.Error())
		if err == nil {
			err = corrupt("receipt log", fmt.Errorf("row %d is missing", position))
		}
	}
	return position, whole, gone, err
}
