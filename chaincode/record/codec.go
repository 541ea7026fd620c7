package record

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// SyntaxError says where bytes stop being the canonical JSON of a record. It
// never quotes them.
type SyntaxError struct {
	Want   string // what the reader or writer wanted here
	Offset int    // byte offset
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("canonical JSON: want %s at byte %d", e.Want, e.Offset)
}

// codec walks a record once, writing its canonical JSON or reading it. One walk
// for both directions is what makes decode→encode the identity: a field cannot
// be written one way and read another. The first error sticks and turns the
// rest of the walk into nothing.
type codec struct {
	buf     []byte // output so far, when writing
	in      string // the whole input, when reading; texts read are parts of it
	pos     int    // read position
	reading bool
	first   bool // no field of the current object was met yet
	err     error
}

func (c *codec) fail(want string) {
	if c.err != nil {
		return
	}
	at := c.pos
	if !c.reading {
		at = len(c.buf)
	}
	c.err = &SyntaxError{Want: want, Offset: at}
}

// failField is fail for a value that broke a rule of the named field.
func (c *codec) failField(name, rule string) {
	if c.err == nil {
		c.fail(strconv.Quote(name) + " " + rule)
	}
}

func (c *codec) root(r Record) { c.object(r) }

// object writes or reads one object in place of a value.
func (c *codec) object(r Record) {
	c.byte('{')
	outer := c.first
	c.first = true
	if c.err == nil {
		r.fields(c)
	}
	if c.reading && c.err == nil && (c.pos >= len(c.in) || c.in[c.pos] != '}') {
		c.fail("end of object (the field here is unknown, repeated, out of order or holds its zero value)")
	}
	c.byte('}')
	c.first = outer
}

// byte writes b or reads exactly b.
func (c *codec) byte(b byte) {
	if c.err != nil {
		return
	}
	if !c.reading {
		c.buf = append(c.buf, b)
		return
	}
	if !c.next(b) {
		c.fail(strconv.QuoteRune(rune(b)))
	}
}

// next reads b if it comes next.
func (c *codec) next(b byte) bool {
	if c.pos < len(c.in) && c.in[c.pos] == b {
		c.pos++
		return true
	}
	return false
}

// field begins the named field and reports whether a value is to be written or
// read. present tells a writer that the value is not zero; an optional field
// with its zero value is not written.
func (c *codec) field(name string, optional, present bool) bool {
	if c.err != nil {
		return false
	}
	if !c.reading {
		if optional && !present {
			return false
		}
		if !c.first {
			c.buf = append(c.buf, ',')
		}
		c.first = false
		c.buf = append(c.buf, '"')
		c.buf = append(c.buf, name...)
		c.buf = append(c.buf, '"', ':')
		return true
	}
	at := c.pos
	if !c.first {
		if at >= len(c.in) || c.in[at] != ',' {
			return c.absent(name, optional)
		}
		at++
	}
	end := at + len(name) + 3
	if end > len(c.in) || c.in[at] != '"' || c.in[at+1:end-2] != name || c.in[end-2] != '"' || c.in[end-1] != ':' {
		return c.absent(name, optional)
	}
	c.pos, c.first = end, false
	return true
}

func (c *codec) absent(name string, optional bool) bool {
	if !optional {
		c.fail("field " + strconv.Quote(name))
	}
	return false
}

// integer writes or reads 0…MaxInt in decimal without sign, leading zero,
// fraction or exponent.
func (c *codec) integer(name string, v uint64) uint64 {
	if c.err != nil {
		return 0
	}
	if !c.reading {
		if v > MaxInt {
			c.failField(name, "within 0…2^53−1")
			return 0
		}
		c.buf = strconv.AppendUint(c.buf, v, 10)
		return v
	}
	start := c.pos
	var n uint64
	for c.pos < len(c.in) && c.in[c.pos] >= '0' && c.in[c.pos] <= '9' && c.pos-start < 17 {
		n = n*10 + uint64(c.in[c.pos]-'0')
		c.pos++
	}
	if c.pos == start || n > MaxInt || (c.in[start] == '0' && c.pos-start > 1) {
		c.pos = start
		c.failField(name, "as a canonical integer within 0…2^53−1")
		return 0
	}
	return n
}

const hexDigits = "0123456789abcdef"

// hex writes b as "0x…", or reads exactly len(b) bytes into it.
func (c *codec) hex(name string, b []byte) {
	if c.err != nil {
		return
	}
	if !c.reading {
		c.buf = append(c.buf, '"', '0', 'x')
		for _, v := range b {
			c.buf = append(c.buf, hexDigits[v>>4], hexDigits[v&15])
		}
		c.buf = append(c.buf, '"')
		return
	}
	end := c.pos + 2*len(b) + 4
	if end > len(c.in) || c.in[c.pos] != '"' || c.in[c.pos+1] != '0' || c.in[c.pos+2] != 'x' || c.in[end-1] != '"' {
		c.failField(name, "as lower-case hex of its fixed length")
		return
	}
	digits := c.in[c.pos+3 : end-1]
	bad := byte(0)
	for i := range b {
		hi, lo := nibble(digits[2*i]), nibble(digits[2*i+1])
		bad |= hi | lo // above 15 if one of them is no digit
		b[i] = hi<<4 | lo
	}
	if bad > 15 {
		clear(b)
		c.failField(name, "as lower-case hex of its fixed length")
		return
	}
	c.pos = end
}

// nibble is the value of a lower-case hex digit, 255 for any other byte.
func nibble(d byte) byte { return nibbles[d] }

var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range hexDigits {
		t[hexDigits[i]] = byte(i)
	}
	return t
}()

// plain marks the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for i := 0x20; i < 0x80; i++ {
		t[i] = i != '"' && i != '\\'
	}
	return t
}()

// writeText writes s as a JSON string in the one escaping of RFC 8785.
func (c *codec) writeText(name, s string) {
	if c.err != nil {
		return
	}
	if allPlain(s) { // as nearly all are
		c.buf = append(c.buf, '"')
		c.buf = append(c.buf, s...)
		c.buf = append(c.buf, '"')
		return
	}
	if !utf8.ValidString(s) {
		c.failField(name, "as valid UTF-8")
		return
	}
	c.buf = append(c.buf, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' {
			continue
		}
		c.buf = append(c.buf, s[from:i]...)
		if short := shortEscape(b); short != 0 {
			c.buf = append(c.buf, '\\', short)
		} else {
			c.buf = append(c.buf, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		}
		from = i + 1
	}
	c.buf = append(c.buf, s[from:]...)
	c.buf = append(c.buf, '"')
}

func allPlain(s string) bool {
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

func shortEscape(b byte) byte {
	switch b {
	case '"', '\\':
		return b
	case '\b':
		return 'b'
	case '\t':
		return 't'
	case '\n':
		return 'n'
	case '\f':
		return 'f'
	case '\r':
		return 'r'
	}
	return 0
}

func longEscape(letter byte) byte {
	switch letter {
	case '"', '\\':
		return letter
	case 'b':
		return '\b'
	case 't':
		return '\t'
	case 'n':
		return '\n'
	case 'f':
		return '\f'
	case 'r':
		return '\r'
	}
	return 0
}

// readText reads a JSON string of at most max bytes of content. The result is a
// part of the input unless the string holds an escape.
func (c *codec) readText(name string, max int) string {
	if c.err != nil {
		return ""
	}
	if !c.next('"') {
		c.failField(name, "as a string")
		return ""
	}
	start := c.pos
	rest := c.in[start:]
	rest = rest[:min(len(rest), max+1)]
	for i := range len(rest) {
		if plain[rest[i]] {
			continue
		}
		if rest[i] == '"' {
			c.pos = start + i + 1
			return rest[:i]
		}
		return c.readOther(name, max)
	}
	return c.readEscaped(name, max) // too long, or not closed
}

// readOther reads the content of a string that is not plain ASCII.
func (c *codec) readOther(name string, max int) string {
	start := c.pos
	for i := start; i < len(c.in); i++ {
		b := c.in[i]
		if b == '\\' || b < 0x20 || i-start > max {
			break
		}
		if b == '"' {
			c.pos = i + 1
			return c.checkText(name, c.in[start:i], max)
		}
	}
	return c.readEscaped(name, max)
}

func (c *codec) readEscaped(name string, max int) string {
	var out []byte
	for c.pos < len(c.in) && len(out) <= max {
		b := c.in[c.pos]
		switch {
		case b == '"':
			c.pos++
			return c.checkText(name, string(out), max)
		case b < 0x20:
			c.failField(name, "with control characters escaped")
			return ""
		case b != '\\':
			out = append(out, b)
			c.pos++
		default:
			v, width := c.escape()
			if width == 0 {
				c.failField(name, "with canonical escapes")
				return ""
			}
			out = append(out, v)
			c.pos += width
		}
	}
	c.failField(name, "as a closed string within its length limit")
	return ""
}

// escape reads the escape at pos and returns its byte and width, width 0 when
// it is not the canonical spelling of that byte.
func (c *codec) escape() (byte, int) {
	rest := c.in[c.pos:]
	if len(rest) < 2 {
		return 0, 0
	}
	if rest[1] != 'u' {
		if v := longEscape(rest[1]); v != 0 {
			return v, 2
		}
		return 0, 0
	}
	if len(rest) < 6 || rest[2] != '0' || rest[3] != '0' {
		return 0, 0
	}
	hi, lo := nibble(rest[4]), nibble(rest[5])
	if hi > 1 || lo > 15 {
		return 0, 0
	}
	v := hi<<4 | lo
	if shortEscape(v) != 0 {
		return 0, 0
	}
	return v, 6
}

func (c *codec) checkText(name string, s string, max int) string {
	if len(s) > max {
		c.failField(name, "within its length limit")
		return ""
	}
	if !utf8.ValidString(s) {
		c.failField(name, "as valid UTF-8")
		return ""
	}
	return s
}
