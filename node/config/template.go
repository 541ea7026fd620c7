package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Template returns c as a commented file that Load reads back as c.
func Template(c Config) []byte {
	var b strings.Builder
	b.WriteString("# Configuration of an Assent node. Every key may also be given as an environment\n# variable (api.listen is ASSENT_API_LISTEN). Relative paths count from this file.\n")
	writeFields(&b, "", reflect.ValueOf(c), "\n")
	return []byte(b.String())
}

func writeFields(b *strings.Builder, indent string, v reflect.Value, gap string) {
	i := 0
	for f := range fields(v.Type()) {
		value := v.Field(i)
		i++
		fmt.Fprintf(b, "%s%s# %s\n%s%s:", gap, indent, f.Tag.Get("doc"), indent, f.Tag.Get("conf"))
		switch {
		case value.Kind() == reflect.Struct:
			b.WriteString("\n")
			writeFields(b, indent+"  ", value, "")
		case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Struct && value.Len() > 0:
			b.WriteString("\n")
			for j := range value.Len() {
				b.WriteString(indent + "  -\n")
				writeFields(b, indent+"    ", value.Index(j), "")
			}
		default:
			b.WriteString(" " + scalarText(value) + "\n")
		}
	}
}

// scalarText writes a value in one line; lists in brackets.
func scalarText(v reflect.Value) string {
	if v.Type() == durationType {
		return time.Duration(v.Int()).String()
	}
	var n yaml.Node
	if err := n.Encode(v.Interface()); err != nil {
		panic(fmt.Sprintf("config: write a %s: %v", v.Type(), err)) // the types are ours
	}
	n.Style = yaml.FlowStyle
	if v.Kind() == reflect.String {
		n.Style = yaml.DoubleQuotedStyle
	}
	out, err := yaml.Marshal(&n)
	if err != nil {
		panic(fmt.Sprintf("config: write a %s: %v", v.Type(), err))
	}
	return strings.TrimSuffix(string(out), "\n")
}
