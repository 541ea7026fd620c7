package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// obvious is the same canonical form by the standard library: it sorts the keys
// of a map, and writes integers and hex as they came.
func obvious(t *testing.T, data []byte) []byte {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(out.String(), "\n")
	// The two places where the standard library departs from RFC 8785.
	return []byte(strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(text))
}

func TestEveryRecordHasSortedKeysAndReadsBack(t *testing.T) {
	for _, f := range fixtures() {
		data, err := Encode(f.full)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if want := obvious(t, data); !bytes.Equal(data, want) {
			t.Errorf("%s is not canonical:\n got %s\nwant %s", f.name, data, want)
		}
		back := f.zero()
		if err := Decode(data, back); err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if diff := cmp.Diff(f.full, back, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s reads back differently:\n%s", f.name, diff)
		}
	}
}

// TestSamplesSetEveryField keeps the test above honest when a field is added.
func TestSamplesSetEveryField(t *testing.T) {
	for _, f := range fixtures() {
		zeroFields(t, f.name, reflect.ValueOf(f.full).Elem())
	}
}

func zeroFields(t *testing.T, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			zeroFields(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Pointer:
		if strings.HasSuffix(path, ".NodeSpec.HostProof") {
			return // of the argument alone, whose sample has it: a node's record keeps none
		}
		if v.IsNil() {
			t.Errorf("%s is nil in the sample", path)
			return
		}
		zeroFields(t, path, v.Elem())
	default:
		if strings.Contains(path, ".Class.") {
			return // a class uses the fields of its kind; the class sample has all
		}
		if v.IsZero() {
			t.Errorf("%s is zero in the sample", path)
		}
	}
}

// TestFixturesHaveEveryRecordType finds the types with a fields method in the
// source, so that a new record cannot escape the tests.
func TestFixturesHaveEveryRecordType(t *testing.T) {
	known := make(map[string]bool)
	for _, f := range fixtures() {
		known[reflect.TypeOf(f.full).Elem().Name()] = true
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Name.Name != "fields" || fn.Recv == nil {
				continue
			}
			found++
			name := fn.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name
			if !known[name] {
				t.Errorf("%s has no fixture", name)
			}
		}
	}
	if found != len(fixtures()) {
		t.Errorf("%d record types, %d fixtures", found, len(fixtures()))
	}
}

func TestEmptyListsHaveOneForm(t *testing.T) {
	empty := &OrderingConfig{ChainID: sampleHash(1), Members: []ConfigMember{}}
	absent := &OrderingConfig{ChainID: sampleHash(1)}
	a, errA := Encode(empty)
	b, errB := Encode(absent)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Fatalf("nil and empty differ: %s %s (%v, %v)", a, b, errA, errB)
	}
	back := new(OrderingConfig)
	if err := Decode(a, back); err != nil || back.Members != nil {
		t.Errorf("an empty list reads as %v, %v", back.Members, err)
	}
}

func TestDecodeRefusesEveryOtherSpelling(t *testing.T) {
	const good = `{"address":"0x0000000000000000000000000000000000000001","label":"a","roles":["integration","officer"],"validUntil":5}`
	if err := Decode([]byte(good), new(ClientSpec)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new string }{
		{"nothing", good, ""},
		{"null", good, "null"},
		{"an array", good, "[]"},
		{"leading space", `{"address`, ` {"address`},
		{"inner space", `"label":`, `"label": `},
		{"trailing space", `5}`, `5} `},
		{"trailing newline", `5}`, "5}\n"},
		{"a second value", `5}`, `5}{}`},
		{"cut short", `5}`, `5`},
		{"unknown field", `"roles"`, `"role":"x","roles"`},
		{"unknown last field", `5}`, `5,"z":1}`},
		{"repeated field", `"label":"a"`, `"label":"a","label":"a"`},
		{"other order", `"label":"a","roles":["integration","officer"]`, `"roles":["integration","officer"],"label":"a"`},
		{"other case", `"label"`, `"Label"`},
		{"escaped key", `"label"`, `"\u006cabel"`},
		{"missing field", `"roles":["integration","officer"],`, ``},
		{"zero optional text", `"label":"a"`, `"label":""`},
		{"zero optional number", `:5}`, `:0}`},
		{"null optional", `:5}`, `:null}`},
		{"negative", `:5}`, `:-5}`},
		{"plus", `:5}`, `:+5}`},
		{"leading zero", `:5}`, `:05}`},
		{"fraction", `:5}`, `:5.0}`},
		{"exponent", `:5}`, `:5e0}`},
		{"text number", `:5}`, `:"5"}`},
		{"2^53", `:5}`, `:9007199254740992}`},
		{"2^64+5", `:5}`, `:18446744073709551621}`},
		{"upper-case hex", `0001"`, `000A"`},
		{"short hex", `0001"`, `001"`},
		{"long hex", `0001"`, `00001"`},
		{"no 0x", `"0x`, `"00`},
		{"hex without end", `0001",`, `0001`},
		{"off the list", `"officer"`, `"Officer"`},
		{"list comma first", `["integration"`, `[,"integration"`},
		{"list comma last", `"officer"]`, `"officer",]`},
		{"list of null", `["integration"`, `[null`},
		{"raw control", `"label":"a"`, "\"label\":\"a\n\""},
		{"needless escape", `"label":"a"`, `"label":"\u0061"`},
		{"escaped slash", `"label":"a"`, `"label":"\/"`},
		{"long form of a short escape", `"label":"a"`, `"label":"\u000a"`},
		{"upper-case escape", `"label":"a"`, `"label":"\u001F"`},
		{"surrogates", `"label":"a"`, `"label":"\ud83d\ude00"`},
		{"cut escape", `"label":"a"`, `"label":"\u00`},
		{"bad UTF-8", `"label":"a"`, "\"label\":\"\xff\""},
		{"too long", `"label":"a"`, `"label":"` + strings.Repeat("a", maxLabel+1) + `"`},
		{"too long by escapes", `"label":"a"`, `"label":"` + strings.Repeat(`\n`, maxLabel+1) + `"`},
		{"too many items", `"officer"]`, `"officer","officer","officer","officer","officer","officer"]`},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%s: changes nothing", c.name)
		}
		err := Decode([]byte(bad), new(ClientSpec))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: got %v, want a syntax error", c.name, err)
		} else if syntax.Offset > len(bad) {
			t.Errorf("%s: offset %d is past the input", c.name, syntax.Offset)
		}
	}
}

func TestEveryPrefixAndEveryByteMatters(t *testing.T) {
	for _, f := range fixtures() {
		data, err := Encode(f.full)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			if Decode(data[:i], f.zero()) == nil {
				t.Errorf("%s: its first %d bytes are taken for a record", f.name, i)
			}
		}
		if len(data) > 700 {
			continue // the short records have every kind of field
		}
		for i := range data {
			for _, b := range []byte{data[i] ^ 1, data[i] ^ 0x20, ' ', '"', ',', '\\', 0xff} {
				changed := bytes.Clone(data)
				if changed[i] = b; bytes.Equal(changed, data) {
					continue
				}
				back := f.zero()
				if Decode(changed, back) != nil {
					continue
				}
				if again, err := Encode(back); err != nil || !bytes.Equal(again, changed) {
					t.Fatalf("%s: byte %d as %q reads but does not write back: %v", f.name, i, b, err)
				}
			}
		}
	}
}

func TestAwkwardTextKeepsItsBytes(t *testing.T) {
	var all strings.Builder
	for b := range 0x20 {
		all.WriteByte(byte(b))
	}
	for _, text := range []string{awkward, all.String(), "\x7f", "\u2028\u2029", "<script>&"} {
		in := &NoticeSpec{Language: "en", NoticeID: "n", Text: text, Title: "t"}
		data, err := Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		out := new(NoticeSpec)
		if err := Decode(data, out); err != nil || out.Text != text {
			t.Errorf("%q came back as %q, %v", text, out.Text, err)
		}
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for name, r := range map[string]Record{
		"bad UTF-8":          &NoticeSpec{Language: "en", NoticeID: "n", Text: "\xff", Title: "t"},
		"long text":          &NoticeSpec{Language: "en", NoticeID: "n", Text: strings.Repeat("a", maxNotice+1), Title: "t"},
		"negative time":      &Epoch{Epoch: 1, OpenedAt: -1, ProductID: "p", Provider: "b"},
		"number past 2^53":   &Epoch{Epoch: MaxInt + 1, ProductID: "p", Provider: "b"},
		"off the list":       &Party{PartyID: "a", Role: "BORROWER"},
		"short blob":         &RequestSpec{AnswerKey: make(Blob, 31), Purpose: CreditChecking},
		"unsorted params":    &RequestSpec{AnswerKey: make(Blob, 32), Purpose: CreditChecking, Params: ParamValues{{"b", "1"}, {"a", "1"}}},
		"repeated params":    &RequestSpec{AnswerKey: make(Blob, 32), Purpose: CreditChecking, Params: ParamValues{{"a", "1"}, {"a", "2"}}},
		"too many parties":   &ConsentTerms{ConsentType: Separate, Parties: make([]Party, maxParties+1)},
		"too large together": &ProductList{Products: make([]Product, MaxList+1)},
	} {
		if data, err := Encode(r); err == nil {
			t.Errorf("%s: wrote %s", name, data)
		}
	}
}

func TestSizeLimits(t *testing.T) {
	if err := Decode(bytes.Repeat([]byte(" "), MaxSize+1), new(Consent)); err == nil || !strings.Contains(err.Error(), "size limit") {
		t.Errorf("an oversized record: %v", err)
	}
	if err := Decode(bytes.Repeat([]byte(" "), MaxSize+1), new(ConsentPage)); err == nil || strings.Contains(err.Error(), "size limit") {
		t.Errorf("a page may be larger than a record: %v", err)
	}
}

func BenchmarkEncodeConsent(b *testing.B) { benchEncode(b, sampleConsent()) }
func BenchmarkEncodeRequest(b *testing.B) { benchEncode(b, sampleRequest()) }

func benchEncode(b *testing.B, r Record) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeConsent(b *testing.B) { benchDecode[Consent](b, sampleConsent()) }
func BenchmarkDecodeRequest(b *testing.B) { benchDecode[Request](b, sampleRequest()) }

func benchDecode[T any, P interface {
	*T
	Record
}](b *testing.B, r P) {
	data, err := Encode(r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Load[T, P](data); err != nil {
			b.Fatal(err)
		}
	}
}
