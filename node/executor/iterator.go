package executor

import (
	"errors"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/state"
)

// chunkRows is how many rows an iterator fetches at a time.
const chunkRows = 64

// maxRune ends the range of a partial composite key, as in Fabric.
const maxRune = "\U0010FFFF"

// rows iterates over a range, fetching chunks as it goes.
type rows struct {
	s          *stub
	start, end string
	strip      int // bytes of the ledger's key that the contract does not see
	buf        []state.Row
	last       bool // buf holds all that is left
	limit      int  // rows to give at most; 0 = no limit
	given      int
	closed     bool
}

// HasNext reports whether Next will return a row.
func (r *rows) HasNext() bool {
	if r.closed || r.limit > 0 && r.given == r.limit {
		return false
	}
	return r.fill()
}

// fill makes buf hold at least one row the contract may see.
func (r *rows) fill() bool {
	for {
		for len(r.buf) > 0 && r.strip == 0 && strings.Contains(r.buf[0].Key, compositeSegment+"\x00") {
			r.buf = r.buf[1:] // plain ranges do not show composite keys
		}
		if len(r.buf) > 0 || r.last {
			return len(r.buf) > 0
		}
		r.s.count()
		buf, err := r.s.state.Range(r.start, r.end, chunkRows)
		if err != nil {
			r.s.unread(err)
		}
		size := 0
		for _, row := range buf {
			size += len(row.Key) + len(row.Value)
		}
		r.s.countRead(size)
		if r.s.rangeRows += len(buf); r.s.rangeRows > r.s.limits.rangeRows {
			_ = r.s.refuse(record.CodeLimitExceeded, "more than %d rows in ranges", r.s.limits.rangeRows)
			panic(abort{})
		}
		if r.last = len(buf) < chunkRows; !r.last {
			r.start = buf[len(buf)-1].Key + "\x00"
		}
		r.buf = buf
	}
}

// Next returns the next row.
func (r *rows) Next() (*queryresult.KV, error) {
	if !r.HasNext() {
		return nil, errors.New("the iterator has no more rows")
	}
	row := r.buf[0]
	r.buf = r.buf[1:]
	r.given++
	return &queryresult.KV{Namespace: r.s.inv.call.Contract, Key: row.Key[r.strip:], Value: row.Value}, nil
}

// Close ends the iteration.
func (r *rows) Close() error {
	r.closed = true
	return nil
}

// GetStateByRange iterates over the plain keys start ≤ key < end of all
// contracts; an empty bound is open.
func (s *stub) GetStateByRange(start, end string) (shim.StateQueryIteratorInterface, error) {
	s.count()
	if strings.HasPrefix(start, "\x00") || strings.HasPrefix(end, "\x00") {
		return nil, s.refuse(record.CodeBadRequest, "a range begins or ends with a composite key")
	}
	return &rows{s: s, start: start, end: end}, nil
}

// GetStateByPartialCompositeKey iterates over the contract's composite keys that
// begin with the given parts.
func (s *stub) GetStateByPartialCompositeKey(objectType string, parts []string) (shim.StateQueryIteratorInterface, error) {
	s.count()
	return s.composite(objectType, parts)
}

func (s *stub) composite(objectType string, parts []string) (*rows, error) {
	prefix, err := shim.CreateCompositeKey(objectType, parts)
	if err != nil {
		return nil, s.refuse(record.CodeBadRequest, "composite key: its parts must be valid text without zero or highest code points")
	}
	own := s.inv.call.Contract + compositeSegment
	return &rows{s: s, start: own + prefix, end: own + prefix + maxRune, strip: len(own)}, nil
}

// GetStateByRangeWithPagination is GetStateByRange for one page, in read calls.
// The bookmark is the key the next page begins with, "" after the last.
func (s *stub) GetStateByRangeWithPagination(start, end string, pageSize int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	it, err := s.GetStateByRange(start, end)
	if err != nil {
		return nil, nil, err
	}
	return s.page(it.(*rows), pageSize, bookmark)
}

// GetStateByPartialCompositeKeyWithPagination is the same for composite keys.
func (s *stub) GetStateByPartialCompositeKeyWithPagination(objectType string, parts []string, pageSize int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	s.count()
	it, err := s.composite(objectType, parts)
	if err != nil {
		return nil, nil, err
	}
	return s.page(it, pageSize, bookmark)
}

// GetAllStatesCompositeKeyWithPagination pages through all of the contract's
// composite keys.
func (s *stub) GetAllStatesCompositeKeyWithPagination(pageSize int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	s.count()
	own := s.inv.call.Contract + compositeSegment
	return s.page(&rows{s: s, start: own + "\x00", end: own + "\x01", strip: len(own)}, pageSize, bookmark)
}

// page fetches a whole page at once, because the bookmark must be known with it.
func (s *stub) page(it *rows, size int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	if s.inv.reading == nil {
		return nil, nil, s.refuse(record.CodeForbidden, "pages are for read calls: a transaction ranges over all it needs")
	}
	if size < 1 || int(size) > s.limits.rangeRows {
		return nil, nil, s.refuse(record.CodeBadRequest, "page size %d, want 1 to %d", size, s.limits.rangeRows)
	}
	if bookmark != "" {
		own := it.start[:it.strip]
		if own+bookmark < it.start || it.end != "" && own+bookmark >= it.end {
			return nil, nil, s.refuse(record.CodeBadRequest, "the bookmark is not one of this range")
		}
		it.start = own + bookmark
	}
	var page []state.Row
	for len(page) < int(size) && it.fill() {
		page = append(page, it.buf[0])
		it.buf = it.buf[1:]
	}
	meta := &peer.QueryResponseMetadata{FetchedRecordsCount: int32(len(page))}
	if it.fill() {
		meta.Bookmark = it.buf[0].Key[it.strip:]
	}
	return &rows{s: s, buf: page, last: true, strip: it.strip}, meta, nil
}

// CreateCompositeKey joins parts to a key that sorts by them.
func (s *stub) CreateCompositeKey(objectType string, parts []string) (string, error) {
	return shim.CreateCompositeKey(objectType, parts)
}

// SplitCompositeKey undoes CreateCompositeKey.
func (s *stub) SplitCompositeKey(key string) (string, []string, error) {
	parts := strings.Split(key, "\x00")
	if len(parts) < 3 || parts[0] != "" || parts[len(parts)-1] != "" {
		return "", nil, errors.New("not a composite key")
	}
	return parts[1], parts[2 : len(parts)-1], nil
}
