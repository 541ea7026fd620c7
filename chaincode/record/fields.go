package record

import "strings"

// The functions here each visit one field of a record. A plain name is a field
// that is always written; opt… is one that is left out when it is zero, so that
// a later version can add fields without changing the bytes of earlier records.

type integer interface {
	~int64 | ~uint64
}

func text[S ~string](c *codec, name string, v *S, max int) {
	if !c.field(name, false, true) {
		return
	}
	textValue(c, name, v, max)
}

func optText[S ~string](c *codec, name string, v *S, max int) {
	if !c.field(name, true, *v != "") {
		return
	}
	textValue(c, name, v, max)
	if *v == "" {
		c.failField(name, "left out when empty")
	}
}

func textValue[S ~string](c *codec, name string, v *S, max int) {
	if c.reading {
		*v = S(c.readText(name, max))
		return
	}
	if len(*v) > max {
		c.failField(name, "within its length limit")
		return
	}
	c.writeText(name, string(*v))
}

func enum[S ~string](c *codec, name string, v *S, list []S) {
	if c.field(name, false, true) {
		enumValue(c, name, v, list)
	}
}

func optEnum[S ~string](c *codec, name string, v *S, list []S) {
	if c.field(name, true, *v != "") {
		enumValue(c, name, v, list)
	}
}

// enumValue keeps to the list in both directions; reading takes the list's own
// string, so it allocates nothing.
func enumValue[S ~string](c *codec, name string, v *S, list []S) {
	if c.err != nil {
		return
	}
	if !c.reading {
		if !listed(*v, list) {
			c.failField(name, "from its closed list")
			return
		}
		c.writeText(name, string(*v))
		return
	}
	b := c.readText(name, maxID)
	for _, item := range list {
		if b == string(item) {
			*v = item
			return
		}
	}
	c.failField(name, "from its closed list")
}

func listed[S comparable](v S, list []S) bool {
	for _, item := range list {
		if v == item {
			return true
		}
	}
	return false
}

func number[N integer](c *codec, name string, v *N) {
	if c.field(name, false, true) {
		*v = N(c.integer(name, uint64(*v)))
	}
}

func optNumber[N integer](c *codec, name string, v *N) {
	if !c.field(name, true, *v != 0) {
		return
	}
	*v = N(c.integer(name, uint64(*v)))
	if *v == 0 {
		c.failField(name, "left out when zero")
	}
}

func boolean(c *codec, name string, v *bool) {
	if c.field(name, false, true) {
		boolValue(c, name, v)
	}
}

func optBoolean(c *codec, name string, v *bool) {
	if !c.field(name, true, *v) {
		return
	}
	boolValue(c, name, v)
	if !*v {
		c.failField(name, "left out when false")
	}
}

func boolValue(c *codec, name string, v *bool) {
	if c.err != nil {
		return
	}
	if !c.reading {
		if *v {
			c.buf = append(c.buf, "true"...)
		} else {
			c.buf = append(c.buf, "false"...)
		}
		return
	}
	rest := c.in[c.pos:]
	switch {
	case strings.HasPrefix(rest, "true"):
		*v, c.pos = true, c.pos+4
	case strings.HasPrefix(rest, "false"):
		*v, c.pos = false, c.pos+5
	default:
		c.failField(name, "as true or false")
	}
}

func hash(c *codec, name string, v *Hash) {
	if c.field(name, false, true) {
		c.hex(name, v[:])
	}
}

func optHash(c *codec, name string, v *Hash) {
	if !c.field(name, true, *v != Hash{}) {
		return
	}
	c.hex(name, v[:])
	if *v == (Hash{}) {
		c.failField(name, "left out when zero")
	}
}

func address(c *codec, name string, v *Address) {
	if c.field(name, false, true) {
		c.hex(name, v[:])
	}
}

func optAddress(c *codec, name string, v *Address) {
	if !c.field(name, true, *v != Address{}) {
		return
	}
	c.hex(name, v[:])
	if *v == (Address{}) {
		c.failField(name, "left out when zero")
	}
}

// optBlob is a byte string that is absent or exactly size bytes long.
func optBlob(c *codec, name string, v *Blob, size int) {
	if c.field(name, true, len(*v) != 0) {
		blobValue(c, name, v, size)
	}
}

func blob(c *codec, name string, v *Blob, size int) {
	if c.field(name, false, true) {
		blobValue(c, name, v, size)
	}
}

func blobValue(c *codec, name string, v *Blob, size int) {
	if c.reading {
		*v = make(Blob, size)
	} else if len(*v) != size {
		c.failField(name, "of its fixed length")
		return
	}
	c.hex(name, *v)
}

// Lists are always written, but for optObjects, and hold at most max items; an
// empty one reads as nil.

// listStart begins an array, of n items when writing.
func (c *codec) listStart(name string, n, max int) bool {
	if !c.field(name, false, true) {
		return false
	}
	if !c.reading && n > max {
		c.failField(name, "within its item limit")
	}
	c.byte('[')
	return c.err == nil
}

// listNext reports whether item i is to be visited, and reads or writes what
// stands before it, or the end. n is the number of items when writing.
func (c *codec) listNext(name string, i, n, max int) bool {
	if c.err != nil {
		return false
	}
	if !c.reading {
		if i == n {
			c.byte(']')
			return false
		}
		if i > 0 {
			c.byte(',')
		}
		return true
	}
	if c.next(']') {
		return false
	}
	if i > 0 {
		c.byte(',')
	}
	if i == max {
		c.failField(name, "within its item limit")
	}
	return c.err == nil
}

const (
	fewNames   = 4
	fewObjects = 2 // larger, and fewer
)

// grow adds a zero item when reading and returns item i. A list begins with room
// for as many items as most have.
func grow[T any](c *codec, v *[]T, i, room int) *T {
	if c.reading {
		if *v == nil {
			*v = make([]T, 0, room)
		}
		var zero T
		*v = append(*v, zero)
	}
	return &(*v)[i]
}

func texts[S ~string](c *codec, name string, v *[]S, max, maxLen int) {
	if !c.listStart(name, len(*v), max) {
		return
	}
	n := len(*v)
	for i := 0; c.listNext(name, i, n, max); i++ {
		textValue(c, name, grow(c, v, i, fewNames), maxLen)
	}
}

func enums[S ~string](c *codec, name string, v *[]S, from []S) {
	if !c.listStart(name, len(*v), len(from)) {
		return
	}
	n := len(*v)
	for i := 0; c.listNext(name, i, n, len(from)); i++ {
		enumValue(c, name, grow(c, v, i, fewNames), from)
	}
}

func addresses(c *codec, name string, v *[]Address, max int) {
	if !c.listStart(name, len(*v), max) {
		return
	}
	n := len(*v)
	for i := 0; c.listNext(name, i, n, max); i++ {
		c.hex(name, grow(c, v, i, fewNames)[:])
	}
}

func objects[T any, P interface {
	*T
	Record
}](c *codec, name string, v *[]T, max int) {
	if !c.listStart(name, len(*v), max) {
		return
	}
	n := len(*v)
	for i := 0; c.listNext(name, i, n, max); i++ {
		c.object(P(grow(c, v, i, fewObjects)))
	}
}

// optObjects is a list that is left out when it is empty: for fields that came
// after the record's first version, whose bytes stay as they were.
func optObjects[T any, P interface {
	*T
	Record
}](c *codec, name string, v *[]T, max int) {
	if !c.field(name, true, len(*v) != 0) {
		return
	}
	if !c.reading && len(*v) > max {
		c.failField(name, "within its item limit")
	}
	c.byte('[')
	n := len(*v)
	for i := 0; c.listNext(name, i, n, max); i++ {
		c.object(P(grow(c, v, i, fewObjects)))
	}
	if c.err == nil && len(*v) == 0 {
		c.failField(name, "left out when empty")
	}
}

// object visits a nested object that is always there.
func object(c *codec, name string, r Record) {
	if c.field(name, false, true) {
		c.object(r)
	}
}

// optObject visits a nested object that may be nil.
func optObject[T any, P interface {
	*T
	Record
}](c *codec, name string, v **T) {
	if !c.field(name, true, *v != nil) {
		return
	}
	if c.reading {
		*v = new(T)
	}
	c.object(P(*v))
}
