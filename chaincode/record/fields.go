package record

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
		if string(b) == string(item) {
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
	rest := c.buf[c.pos:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		*v, c.pos = true, c.pos+4
	case len(rest) >= 5 && string(rest[:5]) == "false":
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

// list visits an array of at most max items. An absent optional list and an
// empty required one both read as nil.
func list[T any](c *codec, name string, v *[]T, max int, optional bool, item func(*codec, string, *T)) {
	if !c.field(name, optional, len(*v) != 0) {
		return
	}
	if !c.reading {
		if len(*v) > max {
			c.failField(name, "within its item limit")
			return
		}
		c.byte('[')
		for i := range *v {
			if i > 0 {
				c.byte(',')
			}
			item(c, name, &(*v)[i])
		}
		c.byte(']')
		return
	}
	c.byte('[')
	if c.err == nil && c.next(']') {
		if optional {
			c.failField(name, "left out when empty")
		}
		return
	}
	for c.err == nil {
		if len(*v) == max {
			c.failField(name, "within its item limit")
			return
		}
		var one T
		*v = append(*v, one)
		item(c, name, &(*v)[len(*v)-1])
		if c.err == nil && !c.next(',') {
			c.byte(']')
			return
		}
	}
}

func textItem[S ~string](max int) func(*codec, string, *S) {
	return func(c *codec, name string, v *S) { textValue(c, name, v, max) }
}

func ids[S ~string](c *codec, name string, v *[]S, max int) {
	list(c, name, v, max, false, idItem[S])
}

func idItem[S ~string](c *codec, name string, v *S) { textValue(c, name, v, maxID) }

func enums[S ~string](c *codec, name string, v *[]S, from []S) {
	list(c, name, v, len(from), false, func(c *codec, name string, v *S) { enumValue(c, name, v, from) })
}

func optEnums[S ~string](c *codec, name string, v *[]S, from []S) {
	list(c, name, v, len(from), true, func(c *codec, name string, v *S) { enumValue(c, name, v, from) })
}

func objects[T any, P interface {
	*T
	Record
}](c *codec, name string, v *[]T, max int) {
	list(c, name, v, max, false, objectItem[T, P])
}

func objectItem[T any, P interface {
	*T
	Record
}](c *codec, _ string, v *T) {
	if c.err == nil {
		c.object(P(v))
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
