// Package record holds what the contracts keep: the Go form of every ledger
// record, its one canonical JSON form, the state key it lives under, the closed
// lists its fields draw from, and every digest and signature made over it.
//
// It promises that a record has exactly one byte form (Decode accepts nothing
// but what Encode writes), that everything from outside is bounded before it is
// kept, and that equal inputs give equal bytes on every machine: there is no
// clock, no randomness, no map walk and no floating point here. SPEC.md says the
// same for another language.
//
// It leaves to the contracts who may write a record and when, to the node where
// the bytes are kept, and to the SDK how a person sees them.
package record

import (
	"sync"

	"github.com/ethereum/go-ethereum/common"
)

// Hash is 32 bytes; in JSON "0x" and 64 lower-case hex digits.
type Hash = common.Hash

// Address is a 20-byte secp256k1 signing address; in JSON "0x" and 40
// lower-case hex digits, never the mixed-case checksum form.
type Address = common.Address

// Millis is a point in time, Unix milliseconds of block time, or a duration in
// milliseconds where a field says so. Zero means absent.
type Millis = int64

// MaxInt is the largest integer a record may hold, 2^53−1, so that a reader
// whose JSON numbers are doubles loses nothing.
const MaxInt = 1<<53 - 1

// MaxSize bounds the JSON form of one record, in bytes.
const MaxSize = 64 << 10

// Record is a type with one canonical JSON form. Only this package makes them:
// two packages that describe one record differently would fork a ledger.
type Record interface {
	// fields visits every field in ascending order of its JSON name, in both
	// directions.
	fields(c *codec)
}

// Checked is a Record whose meaning can be checked beyond its form.
type Checked interface {
	Record
	// Check reports the first rule that the record alone breaks. The text names
	// the field, never its content: what is refused may be personal data.
	Check() error
}

// Encode returns the canonical JSON of r. It fails when a field is out of its
// bounds or of its closed list, so what Encode wrote, Decode reads.
func Encode(r Record) ([]byte, error) {
	c := writers.Get().(*codec)
	defer writers.Put(c)
	*c = codec{buf: c.buf[:0]}
	c.root(r)
	if c.err == nil && len(c.buf) > maxSize(r) {
		c.fail("record longer than the limit")
	}
	if c.err != nil {
		return nil, c.err
	}
	return append(make([]byte, 0, len(c.buf)), c.buf...), nil
}

// writers keeps the buffers of writers, so that a record costs one allocation of
// its own size.
var writers = sync.Pool{New: func() any { return new(codec) }}

// Decode reads the canonical JSON of r into r, which must be a zero value.
// It refuses any other spelling of the same content: white space, another field
// order, unknown or repeated fields, an optional field written with its zero
// value, trailing bytes. An empty list becomes nil.
func Decode(data []byte, r Record) error { return DecodeString(string(data), r) }

// DecodeString is Decode of a string, which the record's texts then share.
func DecodeString(data string, r Record) error {
	if len(data) > maxSize(r) {
		return &SyntaxError{Want: "record within the size limit", Offset: maxSize(r)}
	}
	c := codec{in: data, reading: true}
	c.root(r)
	if c.err == nil && c.pos != len(data) {
		c.fail("end of input")
	}
	return c.err
}

// Load decodes a record that the ledger already holds.
func Load[T any, P interface {
	*T
	Record
}](data []byte) (*T, error) {
	v := new(T)
	if err := Decode(data, P(v)); err != nil {
		return nil, err
	}
	return v, nil
}

// Parse decodes a record that comes from outside, and checks its meaning.
func Parse[T any, P interface {
	*T
	Checked
}](data string) (*T, error) {
	v := new(T)
	if err := DecodeString(data, P(v)); err != nil {
		return nil, err
	}
	if err := P(v).Check(); err != nil {
		return nil, err
	}
	return v, nil
}
