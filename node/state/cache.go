package state

// cache keeps recently used values within a budget of bytes. A hand goes round
// the entries; it spares those used since it last came by and evicts the
// others. One goroutine only.
type cache[V any] struct {
	budget, used int
	cost         func(V) int
	index        map[string]int // key → its entry
	entries      []cacheEntry[V]
	hand         int
}

type cacheEntry[V any] struct {
	key   string
	value V
	warm  bool // used since the hand came by
}

func newCache[V any](budget int, cost func(V) int) *cache[V] {
	return &cache[V]{budget: budget, cost: cost, index: map[string]int{}}
}

func (c *cache[V]) bytes(e *cacheEntry[V]) int { return c.cost(e.value) + len(e.key) + entryOverhead }

func (c *cache[V]) get(key string) (v V, ok bool) {
	i, ok := c.index[key]
	if !ok {
		return v, false
	}
	c.entries[i].warm = true
	return c.entries[i].value, true
}

// put keeps v under key; a value larger than the whole budget is not kept.
func (c *cache[V]) put(key string, v V) {
	if i, ok := c.index[key]; ok {
		e := &c.entries[i]
		c.used -= c.bytes(e)
		e.value = v
		c.used += c.bytes(e)
	} else {
		e := cacheEntry[V]{key: key, value: v}
		c.used += c.bytes(&e)
		c.index[key] = len(c.entries)
		c.entries = append(c.entries, e)
	}
	for c.used > c.budget {
		c.evict()
	}
}

// evict forgets one entry, not the newest if there are others; the newest, at
// the end, takes its place.
func (c *cache[V]) evict() {
	for {
		if c.hand >= len(c.entries)-1 {
			c.hand = 0
		}
		e := &c.entries[c.hand]
		if !e.warm {
			break
		}
		e.warm = false
		c.hand++
	}
	e, last := &c.entries[c.hand], len(c.entries)-1
	c.used -= c.bytes(e)
	delete(c.index, e.key)
	if c.hand != last {
		*e = c.entries[last]
		c.index[e.key] = c.hand
		c.hand++ // its turn comes last
	}
	c.entries[last] = cacheEntry[V]{}
	c.entries = c.entries[:last]
}
