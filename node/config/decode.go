package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var durationType = reflect.TypeFor[time.Duration]()

// decoder fills a Config from nested maps and collects what does not fit.
type decoder struct{ complaints []error }

func (d *decoder) complain(path, format string, args ...any) {
	d.complaints = append(d.complaints, fmt.Errorf("  %s: %s", path, fmt.Sprintf(format, args...)))
}

func (d *decoder) value(path string, v any, into reflect.Value) {
	switch {
	case v == nil: // "key:" without a value: the default stays
	case into.Type() == durationType:
		d.duration(path, v, into)
	case into.Kind() == reflect.Struct:
		d.structure(path, v, into)
	case into.Kind() == reflect.Slice:
		d.list(path, v, into)
	default:
		d.scalar(path, v, into)
	}
}

func (d *decoder) structure(path string, v any, into reflect.Value) {
	m, ok := v.(map[string]any)
	if !ok {
		d.complain(path, "has %s, want a group of keys", show(path, v))
		return
	}
	index := map[string]int{}
	var names []string
	i := 0
	for f := range fields(into.Type()) {
		index[f.Tag.Get("conf")] = i
		names = append(names, f.Tag.Get("conf"))
		i++
	}
	for _, name := range sortedKeys(m) {
		i, ok := index[name]
		if !ok {
			d.complain(join(path, name), "unknown key%s", meant(name, names, path))
			continue
		}
		d.value(join(path, name), m[name], into.Field(i))
	}
}

func (d *decoder) list(path string, v any, into reflect.Value) {
	items, ok := v.([]any)
	if !ok {
		d.complain(path, "has %s, want a list", show(path, v))
		return
	}
	if len(items) > 1024 {
		d.complain(path, "has %d entries, at most 1024 are allowed", len(items))
		return
	}
	out := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		if into.Type().Elem() == reflect.TypeFor[Vault]() {
			out.Index(i).Set(reflect.ValueOf(defaultVault()))
		}
		d.value(fmt.Sprintf("%s[%d]", path, i), item, out.Index(i))
	}
	into.Set(out)
}

func (d *decoder) duration(path string, v any, into reflect.Value) {
	s, ok := v.(string)
	if ok {
		if t, err := time.ParseDuration(s); err == nil {
			into.SetInt(int64(t))
			return
		}
	}
	d.complain(path, "has %s, want a time with its unit, such as 500ms, 10s or 2m", show(path, v))
}

func (d *decoder) scalar(path string, v any, into reflect.Value) {
	switch into.Kind() {
	case reflect.String:
		if s, ok := v.(string); ok {
			into.SetString(s)
			return
		}
		d.complain(path, "has %s, want text: put it in quotes", show(path, v))
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			into.SetBool(b)
			return
		}
		d.complain(path, "has %s, want true or false", show(path, v))
	case reflect.Int:
		if n, ok := v.(int); ok {
			into.SetInt(int64(n))
			return
		}
		d.complain(path, "has %s, want a whole number", show(path, v))
	case reflect.Float64:
		switch n := v.(type) {
		case int:
			into.SetFloat(float64(n))
			return
		case float64:
			if !math.IsNaN(n) && !math.IsInf(n, 0) {
				into.SetFloat(n)
				return
			}
		}
		d.complain(path, "has %s, want a number", show(path, v))
	default:
		panic("config: field " + path + " has a type without a decoder")
	}
}

// secret reports whether the value of a key may be or hold a secret, if only by
// mistake; no complaint repeats it.
func secret(path string) bool {
	return strings.HasSuffix(path, "password") || strings.HasSuffix(path, ".source")
}

// show returns v as a complaint may show it.
func show(path string, v any) string {
	if secret(path) {
		return "a value of another form"
	}
	switch v := v.(type) {
	case string:
		if len(v) > 60 {
			v = v[:60] + "…"
		}
		return strconv.Quote(v)
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v)
	case []any:
		return "a list"
	}
	return "a group of keys"
}

// meant asks whether one of the names was meant, by its place under path, if s looks
// like a slip of it.
func meant(s string, names []string, path string) string {
	n, d := nearest(s, names)
	if d > max(2, len(n)/3) {
		return ""
	}
	return ": did you mean " + join(path, n) + "?"
}

// nearest returns the name with the least edit distance to s, and that distance.
func nearest(s string, names []string) (best string, distance int) {
	distance = math.MaxInt
	for _, n := range names {
		if d := editDistance(strings.ToLower(s), strings.ToLower(n)); d < distance {
			best, distance = n, d
		}
	}
	return best, distance
}

// editDistance is Levenshtein's. Long texts are cut: they are no slips.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
