package sqlvault

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/assent-network/assent/node/vault"
)

// decode turns what a driver returned into a typed value. Its errors name the
// column and the type found, never the value.
func (c ColumnMapping) decode(raw any) (vault.Value, error) {
	if raw == nil {
		return vault.Null(), nil
	}
	if b, ok := raw.([]byte); ok {
		raw = string(b)
	}
	switch c.Type {
	case vault.Int:
		if n, ok := scaled(raw, c.Scale); ok {
			return vault.IntValue(n), nil
		}
	case vault.String:
		if s, ok := raw.(string); ok {
			return c.str(s)
		}
	case vault.Bool:
		if b, ok := boolean(raw); ok {
			return vault.BoolValue(b), nil
		}
	}
	return vault.Value{}, c.mismatch(raw)
}

func (c ColumnMapping) str(s string) (vault.Value, error) {
	if len(s) > vault.MaxStringBytes {
		return vault.Value{}, &vault.SchemaError{Column: c.Name, InRow: true,
			Detail: fmt.Sprintf("holds text of %d bytes, at most %d", len(s), vault.MaxStringBytes),
			Remedy: "map a shorter expression, for example substr(…)"}
	}
	if !utf8.ValidString(s) {
		return vault.Value{}, &vault.SchemaError{Column: c.Name, InRow: true, Detail: "holds bytes that are not UTF-8", Remedy: "map an expression that yields text"}
	}
	return vault.StringValue(s), nil
}

func (c ColumnMapping) mismatch(raw any) error {
	remedy := "change the column's type in the mapping or map an expression that casts it"
	if c.Type == vault.Int {
		remedy += fmt.Sprintf("; the mapping's scale is %d: a decimal with more digits, or beyond 64 bits, does not fit", c.Scale)
	}
	return &vault.SchemaError{Column: c.Name, InRow: true, Detail: fmt.Sprintf("is mapped as %s but the database returned %s", c.Type, kindOf(raw)), Remedy: remedy}
}

func kindOf(raw any) string {
	switch raw.(type) {
	case int64:
		return "an integer"
	case float64:
		return "a real number"
	case string:
		return "text"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	}
	return fmt.Sprintf("a %T", raw)
}

func boolean(raw any) (bool, bool) {
	switch v := raw.(type) {
	case bool:
		return v, true
	case int64:
		return v == 1, v == 0 || v == 1
	case string:
		switch strings.ToLower(v) {
		case "true", "t", "1":
			return true, true
		case "false", "f", "0":
			return false, true
		}
	}
	return false, false
}

// unpadded takes the blanks off a value of a CHAR(n), which count for nothing there.
func unpadded(raw any, t StoredType) any {
	if s, ok := raw.(string); ok && t.Name == "BPCHAR" {
		return strings.TrimRight(s, " ")
	}
	return raw
}

// scaled reads raw as a decimal and returns raw × 10^scale when that is exactly
// an int64. A float is read through its shortest decimal text, so that a REAL
// column holding 12.1 is 1210 at scale 2 and not 1209.
func scaled(raw any, scale uint8) (int64, bool) {
	switch v := raw.(type) {
	case int64:
		return shift(v, int(scale))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) >= 1<<53 {
			return 0, false
		}
		return parseDecimal(strconv.FormatFloat(v, 'f', -1, 64), scale)
	case string:
		return parseDecimal(v, scale)
	case time.Time: // milliseconds; the zero time is how a driver writes "0000-00-00"
		return v.UnixMilli(), scale == 0 && !v.IsZero()
	}
	return 0, false
}

// parseDecimal accepts an optional sign, digits, and a fraction of at most scale
// digits (trailing zeros beyond it do no harm).
func parseDecimal(s string, scale uint8) (int64, bool) {
	body := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	whole, frac, dotted := strings.Cut(body, ".")
	if len(s)-len(body) > 1 || whole == "" || dotted && frac == "" || !digits(whole) || !digits(frac) {
		return 0, false
	}
	frac = strings.TrimRight(frac, "0")
	if len(frac) > int(scale) {
		return 0, false
	}
	frac += strings.Repeat("0", int(scale)-len(frac))
	text := whole + frac
	if strings.HasPrefix(s, "-") {
		text = "-" + text
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func shift(n int64, by int) (int64, bool) {
	for range by {
		if n > math.MaxInt64/10 || n < math.MinInt64/10 {
			return 0, false
		}
		n *= 10
	}
	return n, true
}
