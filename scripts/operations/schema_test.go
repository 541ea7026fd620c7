package operations

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// document is as much of OpenAPI 3.1 as the description uses.
type document struct {
	Paths      map[string]pathItem `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type pathItem struct {
	Post *struct {
		Description string             `json:"description"`
		RequestBody content            `json:"requestBody"`
		Responses   map[string]content `json:"responses"`
	} `json:"post"`
}

type content struct {
	Content map[string]media `json:"content"`
}

type media struct {
	Schema  schema `json:"schema"`
	Example any    `json:"example"`
}

// media returns the one kind of content that is described.
func (c content) media(t *testing.T) media {
	t.Helper()
	if len(c.Content) != 1 {
		t.Fatalf("%d kinds of content", len(c.Content))
	}
	for _, m := range c.Content {
		return m
	}
	panic("unreachable")
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a name or a list of names
	Format     string            `json:"format"`
	Enum       []any             `json:"enum"`
	Const      any               `json:"const"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
	More       any               `json:"additionalProperties"`
}

func (s schema) types() []string {
	switch v := s.Type.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			out = append(out, fmt.Sprint(x))
		}
		return out
	}
	return nil
}

// check holds a value against a schema.
func (d *document) check(t *testing.T, where string, s schema, v any) {
	t.Helper()
	if s.Ref != "" {
		name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		var ok bool
		if s, ok = d.Components.Schemas[name]; !ok {
			t.Errorf("%s: no schema %s", where, name)
			return
		}
	}
	if s.Const != nil && v != s.Const || s.Enum != nil && !slices.Contains(s.Enum, v) {
		t.Errorf("%s: %v is not in the enumeration", where, v)
	}
	kind := map[string]string{"string": "string", "float64": "integer", "bool": "boolean", "[]interface {}": "array", "map[string]interface {}": "object"}[fmt.Sprintf("%T", v)]
	if types := s.types(); types != nil && !slices.Contains(types, kind) {
		t.Errorf("%s: %s, the schema says %v", where, kind, types)
		return
	}
	switch v := v.(type) {
	case string:
		if _, err := base64.StdEncoding.DecodeString(v); s.Format == "byte" && err != nil {
			t.Errorf("%s: %v", where, err)
		}
		if _, err := strconv.ParseUint(v, 10, 64); s.Format == "int64" && err != nil {
			t.Errorf("%s: %v", where, err)
		}
	case []any:
		for i, x := range v {
			d.check(t, fmt.Sprintf("%s[%d]", where, i), *s.Items, x)
		}
	case map[string]any:
		for name, x := range v {
			if p, ok := s.Properties[name]; ok {
				d.check(t, where+"."+name, p, x)
			} else if s.More == false {
				t.Errorf("%s: the schema has no field %s", where, name)
			}
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				t.Errorf("%s: %s is missing", where, name)
			}
		}
	}
}
