package call

import (
	"fmt"
	"unicode/utf8"

	"github.com/assent-network/assent/chaincode/record"
)

// maxBookmark bounds a bookmark, which is the end of an index key.
const maxBookmark = 256

// indexValue is what index rows hold; their key says everything.
var indexValue = []byte("1")

// rows is a stub that lends rows instead of copying them, because this package
// changes neither what it reads nor what it has written. Our node's does.
type rows interface {
	// LendState is GetState; the caller must not change what it returns.
	LendState(key string) ([]byte, error)
	// GiveState is PutState; the caller must not change value afterwards.
	GiveState(key string, value []byte) error
}

func (c *Context) row(key string) ([]byte, error) {
	if stub, ok := c.GetStub().(rows); ok {
		return stub.LendState(key)
	}
	return c.GetStub().GetState(key)
}

func (c *Context) putRow(key string, value []byte) error {
	if stub, ok := c.GetStub().(rows); ok {
		return stub.GiveState(key, value)
	}
	return c.GetStub().PutState(key, value)
}

// read decodes the record under key into v and reports whether there is one.
func (c *Context) read(key string, v record.Record) (bool, error) {
	data, err := c.row(key)
	if err != nil {
		return false, fmt.Errorf("read state: %w", err)
	}
	if data == nil {
		return false, nil
	}
	if err := record.Decode(data, v); err != nil {
		return false, fmt.Errorf("record in state: %w", err)
	}
	return true, nil
}

// Get returns the record under key, or nil.
func Get[T any, P interface {
	*T
	record.Record
}](c *Context, key string) (*T, error) {
	v := new(T)
	found, err := c.read(key, P(v))
	if err != nil || !found {
		return nil, err
	}
	return v, nil
}

// rememberer is a stub that keeps the decoded form of a row beside its bytes.
// Our node's does, in transactions; a Fabric peer's does not.
type rememberer interface {
	// Remember returns what decode made of the row under key, nil if there is no
	// row. It calls decode again whenever the row has other bytes.
	Remember(key string, decode func(data []byte) (any, error)) (any, error)
}

// Shared returns the record under key, or nil, for records that nearly every
// call reads: members, keys, products, templates. The same value may be given to
// other calls: it and everything in it must not be changed.
func Shared[T any, P interface {
	*T
	record.Record
}](c *Context, key string) (*T, error) {
	stub, ok := c.GetStub().(rememberer)
	if !ok {
		return Get[T, P](c, key)
	}
	v, err := stub.Remember(key, decode[T, P])
	if err != nil || v == nil {
		return nil, err
	}
	return v.(*T), nil
}

func decode[T any, P interface {
	*T
	record.Record
}](data []byte) (any, error) {
	v := new(T)
	if err := record.Decode(data, P(v)); err != nil {
		return nil, fmt.Errorf("record in state: %w", err)
	}
	return v, nil
}

// Need returns the record under key, or refuses with code.
func Need[T any, P interface {
	*T
	record.Record
}](c *Context, key string, code record.Code, what string) (*T, error) {
	v, err := Get[T, P](c, key)
	if err == nil && v == nil {
		return nil, record.Refuse(code, "no such %s", what)
	}
	return v, err
}

// Put writes a record and returns its canonical JSON, which must not be changed.
func (c *Context) Put(key string, v record.Record) ([]byte, error) {
	data, err := record.Encode(v)
	if err != nil {
		return nil, record.Refuse(record.CodeBadRequest, "%v", err)
	}
	if err := c.putRow(key, data); err != nil {
		return nil, fmt.Errorf("write state: %w", err)
	}
	return data, nil
}

// Publish writes a record, emits it as the call's event and returns it: what
// nearly every write function does last.
func (c *Context) Publish(key, event string, v record.Record) (string, error) {
	data, err := c.Put(key, v)
	if err != nil {
		return "", err
	}
	return string(data), c.Emit(event, data)
}

// Emit sets the call's one event: a record just written.
func (c *Context) Emit(event string, data []byte) error {
	if err := c.GetStub().SetEvent(event, data); err != nil {
		return fmt.Errorf("set event: %w", err)
	}
	return nil
}

// Index writes an index row.
func (c *Context) Index(key string) error {
	if err := c.putRow(key, indexValue); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// Unindex deletes an index row.
func (c *Context) Unindex(key string) error {
	if err := c.GetStub().DelState(key); err != nil {
		return fmt.Errorf("delete index: %w", err)
	}
	return nil
}

// Show returns the record under key as a read function does: its bytes as they
// are in the state.
func (c *Context) Show(key, what string) (string, error) {
	data, err := c.row(key)
	if err != nil {
		return "", fmt.Errorf("read state: %w", err)
	}
	if data == nil {
		return "", record.Refuse(record.CodeNotFound, "no such %s", what)
	}
	return string(data), nil
}

// Answer returns a record made for the caller, such as a list.
func Answer(v record.Record) (string, error) {
	data, err := record.Encode(v)
	if err != nil {
		return "", record.Refuse(record.CodeLimitExceeded, "answer is too large: %v", err)
	}
	return string(data), nil
}

// List decodes every record under a prefix. Read functions only: in a
// transaction the range would tie it to every row of the prefix.
func List[T any, P interface {
	*T
	record.Record
}](c *Context, prefix string) ([]T, error) {
	var out []T
	err := c.scan(prefix, lastOf(prefix), "", func(_ string, value []byte) (bool, error) {
		if len(out) == record.MaxList {
			return false, record.Refuse(record.CodeLimitExceeded, "more than %d records", record.MaxList)
		}
		var v T
		if err := record.Decode(value, P(&v)); err != nil {
			return false, fmt.Errorf("record in state: %w", err)
		}
		out = append(out, v)
		return true, nil
	})
	return out, err
}

// ListIndex decodes the records that the index rows under a prefix point to.
func ListIndex[T any, P interface {
	*T
	record.Record
}](c *Context, prefix string, target func(id string) string) ([]T, error) {
	out, next, err := page[T, P](c, prefix, lastOf(prefix), record.MaxList, "", target)
	if err == nil && next != "" {
		return nil, record.Refuse(record.CodeLimitExceeded, "more than %d records", record.MaxList)
	}
	return out, err
}

// Page decodes one page of the records that the index rows under a prefix point
// to, and returns the bookmark of the next page, "" at the end. size is the
// page size as the caller wrote it.
func Page[T any, P interface {
	*T
	record.Record
}](c *Context, prefix, size, bookmark string, target func(id string) string) ([]T, string, error) {
	return pageUntil[T, P](c, prefix, lastOf(prefix), size, bookmark, target)
}

// PageDue is Page of index rows that begin with a due date, up to the last one due
// before a time; "0" means all of them.
func PageDue[T any, P interface {
	*T
	record.Record
}](c *Context, prefix, dueBefore, size, bookmark string, target func(id string) string) ([]T, string, error) {
	before, err := Integer("dueBefore", dueBefore)
	if err != nil {
		return nil, "", err
	}
	end := lastOf(prefix)
	if before != 0 {
		end = prefix + record.TimeSegment(record.Millis(before))
	}
	return pageUntil[T, P](c, prefix, end, size, bookmark, target)
}

func pageUntil[T any, P interface {
	*T
	record.Record
}](c *Context, prefix, end, size, bookmark string, target func(id string) string) ([]T, string, error) {
	n, err := Integer("pageSize", size)
	if err != nil {
		return nil, "", err
	}
	if n == 0 || n > record.MaxPage {
		return nil, "", record.Refuse(record.CodeBadRequest, "pageSize: want 1 to %d", record.MaxPage)
	}
	if err := c.checkBookmark(prefix, end, bookmark, target); err != nil {
		return nil, "", err
	}
	return page[T, P](c, prefix, end, int(n), bookmark, target)
}

// checkBookmark refuses what no page of this list has ended with: else a mistake
// would look like the end of the list. The row itself may have gone since, but a
// record that was listed stays.
func (c *Context) checkBookmark(prefix, end, bookmark string, target func(id string) string) error {
	if bookmark == "" {
		return nil
	}
	unknown := record.Refuse(record.CodeBadRequest, "bookmark: no page of this list ended with it; pass on the bookmark of the page before as it is, or begin without one")
	if len(bookmark) > maxBookmark || !utf8.ValidString(bookmark) || prefix+bookmark >= end {
		return unknown
	}
	for _, key := range []string{prefix + bookmark, target(record.LastSegment(bookmark))} {
		data, err := c.row(key)
		if err != nil {
			return fmt.Errorf("read state: %w", err)
		}
		if data != nil {
			return nil
		}
	}
	return unknown
}

func page[T any, P interface {
	*T
	record.Record
}](c *Context, prefix, end string, size int, bookmark string, target func(id string) string) ([]T, string, error) {
	var keys []string
	more := false
	err := c.scan(prefix, end, bookmark, func(key string, _ []byte) (bool, error) {
		if more = len(keys) == size; more {
			return false, nil
		}
		keys = append(keys, key)
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	out := make([]T, len(keys))
	for i, key := range keys {
		found, err := c.read(target(record.LastSegment(key)), P(&out[i]))
		if err != nil {
			return nil, "", err
		}
		if !found {
			return nil, "", fmt.Errorf("index row without its record")
		}
	}
	if !more {
		return out, "", nil
	}
	return out, keys[len(keys)-1][len(prefix):], nil
}

// lastOf is the first key after all that begin with prefix, which ends in '/'.
func lastOf(prefix string) string { return prefix[:len(prefix)-1] + "0" }

// scan visits the rows under a prefix and before end in key order, after the row
// that bookmark names, until visit returns false.
func (c *Context) scan(prefix, end, bookmark string, visit func(key string, value []byte) (bool, error)) error {
	start := prefix
	if bookmark != "" {
		start = prefix + bookmark + "\x00"
	}
	if start >= end {
		return nil // the bookmark lies at or behind the end
	}
	rows, err := c.GetStub().GetStateByRange(start, end)
	if err != nil {
		return fmt.Errorf("range over state: %w", err)
	}
	err = func() error {
		for rows.HasNext() {
			row, err := rows.Next()
			if err != nil {
				return fmt.Errorf("range over state: %w", err)
			}
			if more, err := visit(row.GetKey(), row.GetValue()); err != nil || !more {
				return err
			}
		}
		return nil
	}()
	if closeErr := rows.Close(); err == nil && closeErr != nil {
		return fmt.Errorf("close range: %w", closeErr)
	}
	return err
}
