package state

import "github.com/klauspost/compress/s2"

// Large rows of one kind are much alike: a consent of 1,300 bytes differs from
// another one by 300. The cache keeps of such a row what differs from a sample of
// those that came before it, a fifth of its size, and reads it in 2 µs.
const (
	packLeast   = 512     // shorter rows are kept as they are
	sampleRows  = 4       // in a sample
	sampleMost  = 8 << 10 // larger rows are no sample
	packWorth   = 4       // a row must shrink by a quarter at least
	sampleTrust = 256     // rows in a row that did not: take a new sample
)

// rowCache keeps rows that the executor read or wrote. One goroutine only.
type rowCache struct {
	rows   *cache[cachedRow]
	sample []byte   // what the next dictionary is made of
	taken  int      // rows in it
	dict   *s2.Dict // nil until there is a sample
	poor   int      // rows since the last one that was worth packing
	room   []byte
}

// cachedRow is a row, or that there is none.
type cachedRow struct {
	b    []byte   // nil: there is no such row
	dict *s2.Dict // what b is packed with; nil: b is the row
}

func newRowCache(budget int) *rowCache {
	return &rowCache{rows: newCache(budget, func(r cachedRow) int { return len(r.b) })}
}

// get returns what was put under key, nil if that is that there is no such row.
func (c *rowCache) get(key string) (row []byte, ok bool) {
	r, ok := c.rows.get(key)
	if !ok || r.dict == nil {
		return r.b, ok
	}
	row, err := r.dict.Decode(nil, r.b)
	return row, err == nil // else the row is read from the database
}

// put keeps row under key; the caller does not change it any more.
func (c *rowCache) put(key string, row []byte) {
	if len(row) >= packLeast && len(row) <= sampleMost {
		if r, ok := c.pack(row); ok {
			c.rows.put(key, r)
			return
		}
	}
	c.rows.put(key, cachedRow{b: row})
}

func (c *rowCache) pack(row []byte) (cachedRow, bool) {
	if c.dict == nil || c.poor >= sampleTrust {
		c.sample = append(c.sample, row...)
		if c.taken++; c.taken == sampleRows {
			c.dict, c.poor = s2.MakeDict(c.sample, nil), 0
			c.sample, c.taken = nil, 0
		}
	}
	if c.dict == nil {
		return cachedRow{}, false
	}
	if need := s2.MaxEncodedLen(len(row)); len(c.room) < need {
		c.room = make([]byte, need)
	}
	packed := c.dict.Encode(c.room, row)
	if len(packed) > len(row)-len(row)/packWorth {
		c.poor++
		return cachedRow{}, false
	}
	c.poor = 0
	return cachedRow{b: append([]byte(nil), packed...), dict: c.dict}, true
}
