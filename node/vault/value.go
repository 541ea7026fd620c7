package vault

import (
	"fmt"
	"log/slog"
	"strings"
)

// Type is the type of a mapped column. There is no floating-point type: a decimal
// is an Int in minor units, by the scale that the mapping names.
type Type uint8

// The types, in the spelling that configuration and catalogue use.
const (
	Int    Type = iota + 1 // "int": 64-bit signed
	String                 // "string": UTF-8, at most MaxStringBytes
	Bool                   // "bool"
)

// String is the spelling used in configuration and catalogue.
func (t Type) String() string {
	switch t {
	case Int:
		return "int"
	case String:
		return "string"
	case Bool:
		return "bool"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// ParseType reads the spelling of a type; letter case is ignored.
func ParseType(s string) (Type, error) {
	switch strings.ToLower(s) {
	case "int":
		return Int, nil
	case "string":
		return String, nil
	case "bool":
		return Bool, nil
	}
	return 0, fmt.Errorf("vault: unknown column type %q: use int, string or bool", s)
}

// Value is one typed cell. The zero Value is null.
type Value struct {
	kind Type
	num  int64
	str  string
}

// Row holds the values of a lookup in the order of the columns asked for.
type Row []Value

// IntValue, StringValue and BoolValue make values; Null is the zero Value.
func IntValue(n int64) Value { return Value{kind: Int, num: n} }

// StringValue makes a string value.
func StringValue(s string) Value { return Value{kind: String, str: s} }

// BoolValue makes a boolean value.
func BoolValue(b bool) Value {
	v := Value{kind: Bool}
	if b {
		v.num = 1
	}
	return v
}

// Null is the absent value.
func Null() Value { return Value{} }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.kind == 0 }

// Type is the value's type, 0 for null.
func (v Value) Type() Type { return v.kind }

// Int returns the integer and whether v is one.
func (v Value) Int() (int64, bool) { return v.num, v.kind == Int }

// Str returns the string and whether v is one.
func (v Value) Str() (string, bool) { return v.str, v.kind == String }

// Bool returns the boolean and whether v is one.
func (v Value) Bool() (bool, bool) { return v.num != 0, v.kind == Bool }

// String hides the value: a row is personal data. Tests compare values with ==.
func (v Value) String() string {
	if v.IsNull() {
		return "[null]"
	}
	return "[" + v.kind.String() + "]"
}

// GoString hides the value from %#v.
func (v Value) GoString() string { return v.String() }

// LogValue hides the value from slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }
