package state

// cache keeps recently used values within a budget of bytes. It has two
// generations: when the young one is full it becomes the old one, and the old
// one is forgotten; a hit in the old one moves the value. That is nearly as
// good as exact order of use and costs no list. One goroutine only.
type cache[V any] struct {
	budget     int // bytes of one generation
	used       int
	cost       func(V) int
	young, old map[string]V
}

func newCache[V any](budget int, cost func(V) int) *cache[V] {
	return &cache[V]{budget: budget / 2, cost: cost, young: map[string]V{}, old: map[string]V{}}
}

func (c *cache[V]) get(key string) (V, bool) {
	if v, ok := c.young[key]; ok {
		return v, true
	}
	v, ok := c.old[key]
	if ok {
		c.put(key, v)
	}
	return v, ok
}

func (c *cache[V]) put(key string, v V) {
	if old, ok := c.young[key]; ok {
		c.used -= c.cost(old) + len(key) + entryOverhead
	}
	c.young[key] = v
	c.used += c.cost(v) + len(key) + entryOverhead
	if c.used > c.budget {
		c.old, c.young, c.used = c.young, make(map[string]V, len(c.young)), 0
	}
}
