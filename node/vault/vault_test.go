package vault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSubjectsAndValuesDoNotPrintThemselves(t *testing.T) {
	const name = "cn:110101199001011234"
	s := Subject(name)
	row := Row{StringValue(name), IntValue(424242)}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "subject", s, "value", row[0], "n", row[1])
	encoded, err := json.Marshal(map[string]any{"a": s, "b": []Subject{s}})
	if err != nil {
		t.Fatal(err)
	}
	text := log.String() + string(encoded) + fmt.Sprint(s, row) + fmt.Sprintf("%v %+v %#v %s %q %x %d %v", s, s, s, s, s, s, s, row[1])
	if strings.Contains(text, "11010119") || strings.Contains(text, "424242") || strings.Contains(text, fmt.Sprintf("%x", name)) {
		t.Errorf("personal data printed: %s", text)
	}
}

func TestParseSubject(t *testing.T) {
	for _, ok := range []string{"1", "cn:110101199001011234", "客户 17", strings.Repeat("x", MaxSubjectBytes)} {
		if s, err := ParseSubject(ok); err != nil || string(s) != ok {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", " 1", "1 ", "a\nb", "a\x00", "\xff", strings.Repeat("x", MaxSubjectBytes+1)} {
		if _, err := ParseSubject(bad); err == nil {
			t.Errorf("%q accepted", bad)
		} else if bad != "" && len(bad) < 5 && strings.Contains(err.Error(), bad) {
			t.Errorf("the error repeats the identifier: %v", err)
		}
	}
}

func TestTypesReadTheirOwnSpelling(t *testing.T) {
	for _, typ := range []Type{Int, String, Bool} {
		if got, err := ParseType(strings.ToUpper(typ.String())); err != nil || got != typ {
			t.Errorf("%v: %v %v", typ, got, err)
		}
	}
	if _, err := ParseType("float"); err == nil {
		t.Error("float accepted")
	}
}

func TestValuesKeepTheirType(t *testing.T) {
	for _, v := range []Value{IntValue(1), StringValue("1"), BoolValue(true)} {
		_, i := v.Int()
		_, s := v.Str()
		_, b := v.Bool()
		if i != (v.Type() == Int) || s != (v.Type() == String) || b != (v.Type() == Bool) || v.IsNull() {
			t.Errorf("%v reads as another type", v)
		}
	}
	if !Null().IsNull() || Null() != (Value{}) || BoolValue(false) == Null() {
		t.Error("null is not the zero value")
	}
}
