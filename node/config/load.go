package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

// MaxFileBytes bounds a configuration file.
const MaxFileBytes = 1 << 20

const envPrefix = "ASSENT_"

// Sources says where values come from; the later override the earlier.
type Sources struct {
	File  string            // path; empty: none
	Env   []string          // as os.Environ returns it
	Flags map[string]string // by key: "api.listen"
}

// Load reads and checks a configuration. The error joins every complaint.
func Load(src Sources) (Config, error) {
	k := koanf.New(".")
	dir := "."
	if src.File != "" {
		dir = filepath.Dir(src.File)
		b, err := readFile("configuration", src.File, MaxFileBytes)
		if err != nil {
			return Config{}, err
		}
		if err := k.Load(bytesOf(b), yamlParser{}); err != nil {
			return Config{}, fmt.Errorf("configuration file %s: %w", src.File, err)
		}
	}
	var complaints []error
	for _, layer := range []func() (map[string]any, []error){
		func() (map[string]any, []error) { return fromEnv(src.Env) },
		func() (map[string]any, []error) { return fromFlags(src.Flags) },
	} {
		values, errs := layer()
		complaints = append(complaints, errs...)
		if err := k.Load(valuesOf(values), nil); err != nil {
			return Config{}, fmt.Errorf("configuration: %w", err)
		}
	}
	c := Default()
	d := decoder{}
	d.value("", k.Raw(), reflect.ValueOf(&c).Elem())
	complaints = append(complaints, d.complaints...)
	if len(complaints) == 0 { // what could not be read would only be complained about twice
		complaints = c.complaints()
	}
	if len(complaints) > 0 {
		return Config{}, fmt.Errorf("configuration: %d to correct:\n%w", len(complaints), errors.Join(complaints...))
	}
	c.resolve(dir)
	return c, nil
}

// readFile reads a file of at most limit bytes.
func readFile(what, path string, limit int64) ([]byte, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		remedy := "make one with \"assentd init\""
		if what == "genesis" {
			remedy = "fetch it from a member: assentd init --genesis FILE copies it"
		}
		return nil, fmt.Errorf("%s file %s does not exist: correct the path, or %s", what, path, remedy)
	case err != nil:
		return nil, fmt.Errorf("%s file: %w", what, err)
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("%s file %s is not a regular file", what, path)
	case fi.Size() > limit:
		return nil, fmt.Errorf("%s file %s has %d bytes, at most %d are allowed: it is another file", what, path, fi.Size(), limit)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s file: %w", what, err)
	}
	return b, nil
}

// resolve makes paths count from dir.
func (c *Config) resolve(dir string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	abs(&c.DataDir)
	abs(&c.Genesis)
	abs(&c.Identity.KeysDir)
	password := func(p *string) {
		if path, ok := strings.CutPrefix(*p, "file:"); ok {
			abs(&path)
			*p = "file:" + path
		}
	}
	password(&c.Identity.Password)
	abs(&c.Answering.ExposureKeys)
	for i := range c.Answering.Vaults {
		v := &c.Answering.Vaults[i]
		password(&v.Password)
		if v.Connector == "sqlite" {
			abs(&v.Source)
		}
	}
}

// bytesOf and valuesOf are koanf providers, yamlParser is a parser: its own ones
// are further modules.
type bytesOf []byte

func (b bytesOf) ReadBytes() ([]byte, error)  { return b, nil }
func (bytesOf) Read() (map[string]any, error) { return nil, errors.New("needs a parser") }

type valuesOf map[string]any

func (valuesOf) ReadBytes() ([]byte, error)      { return nil, errors.New("needs no parser") }
func (v valuesOf) Read() (map[string]any, error) { return v, nil }

type yamlParser struct{}

func (yamlParser) Unmarshal(b []byte) (map[string]any, error) {
	var m map[string]any
	err := yaml.Unmarshal(b, &m)
	if typ := (*yaml.TypeError)(nil); errors.As(err, &typ) {
		for _, text := range typ.Errors {
			if strings.Contains(text, "already defined") {
				return nil, fmt.Errorf("%s: keep one of the two", text)
			}
		}
		return nil, errors.New("want keys and values: it is another file") // the library's text repeats the file's, which may be a secret
	}
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w: correct that line", err)
	}
	if m == nil {
		m = map[string]any{}
	}
	return m, nil
}

func (yamlParser) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

// key is one setting that environment and flags can give.
type key struct {
	path string // "api.listen"
	typ  reflect.Type
}

// keys lists every setting but lists of structs, which only the file can hold.
func keys() []key {
	var out []key
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for f := range fields(t) {
			path := join(prefix, f.Tag.Get("conf"))
			switch {
			case f.Type.Kind() == reflect.Struct:
				walk(path, f.Type)
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			default:
				out = append(out, key{path, f.Type})
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	return out
}

func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// EnvName returns the environment variable of a key: "api.listen" is
// ASSENT_API_LISTEN, "dataDir" is ASSENT_DATA_DIR.
func EnvName(key string) string {
	var b strings.Builder
	b.WriteString(envPrefix)
	for i, r := range key {
		switch {
		case r == '.':
			b.WriteByte('_')
			continue
		case unicode.IsUpper(r) && i > 0 && key[i-1] != '.' && !unicode.IsUpper(rune(key[i-1])):
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// fromEnv reads ASSENT_ variables. Others of that prefix belong to other
// programs, such as the command line, unless they look like a slip.
func fromEnv(env []string) (map[string]any, []error) {
	known := map[string]key{}
	var names []string
	for _, k := range keys() {
		known[EnvName(k.path)] = k
		names = append(names, EnvName(k.path))
	}
	out := map[string]any{}
	var errs []error
	for _, e := range env {
		name, v, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		k, ok := known[name]
		if !ok {
			if n, d := nearest(name, names); d <= 2 {
				errs = append(errs, fmt.Errorf("  environment variable %s is unknown: did you mean %s?", name, n))
			}
			continue
		}
		set(out, k.path, parse(k.typ, v))
	}
	return out, errs
}

func fromFlags(flags map[string]string) (map[string]any, []error) {
	known := map[string]key{}
	var names []string
	for _, k := range keys() {
		known[k.path] = k
		names = append(names, k.path)
	}
	out := map[string]any{}
	var errs []error
	for _, name := range sortedKeys(flags) {
		k, ok := known[name]
		if !ok {
			errs = append(errs, fmt.Errorf("  %s: unknown key%s", name, meant(name, names, "")))
			continue
		}
		set(out, k.path, parse(k.typ, flags[name]))
	}
	return out, errs
}

// parse gives a text the form in which a file would hold it.
func parse(t reflect.Type, v string) any {
	switch {
	case t.Kind() == reflect.Slice:
		list := []any{}
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list
	case t.Kind() == reflect.String || t == durationType:
		return v
	}
	var out any
	if err := yaml.Unmarshal([]byte(v), &out); err != nil {
		return v
	}
	return out
}

// set puts v under a dotted path, as nested maps.
func set(m map[string]any, path string, v any) {
	for {
		head, rest, deeper := strings.Cut(path, ".")
		if !deeper {
			m[head] = v
			return
		}
		next, ok := m[head].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[head] = next
		}
		m, path = next, rest
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
