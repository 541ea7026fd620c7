package executor

// memory keeps what contracts decoded from rows that nearly every transaction
// reads, such as the caller's key or a product. It saves work and decides
// nothing: an entry counts only while the row is the very same bytes in memory,
// and rows are never changed in place. It belongs to the goroutine that executes
// blocks.
type memory struct {
	decoded map[string]remembered
}

type remembered struct {
	row   []byte
	value any
}

// maxRemembered bounds the entries; contracts ask for a handful of keys per
// member and product.
const maxRemembered = 1024

func newMemory() *memory { return &memory{decoded: map[string]remembered{}} }

// get returns what was decoded from exactly this row.
func (m *memory) get(key string, row []byte) (any, bool) {
	r, ok := m.decoded[key]
	if !ok || len(r.row) != len(row) || &r.row[0] != &row[0] {
		return nil, false
	}
	return r.value, true
}

func (m *memory) put(key string, row []byte, value any) {
	if len(m.decoded) >= maxRemembered {
		clear(m.decoded)
	}
	m.decoded[key] = remembered{row, value}
}

// Remember returns what decode makes of the row under key, nil if there is none.
// It counts as GetState does.
func (s *stub) Remember(key string, decode func(data []byte) (any, error)) (any, error) {
	key, row, err := s.row(key)
	if err != nil || len(row) == 0 {
		return nil, err
	}
	if s.memory == nil {
		return decode(row)
	}
	if v, ok := s.memory.get(key, row); ok {
		return v, nil
	}
	v, err := decode(row)
	if err == nil {
		s.memory.put(key, row, v)
	}
	return v, err
}
