package total

import (
	"encoding/json"
	"testing"
)

func FuzzTold(f *testing.F) {
	f.Add(`[{"Bank":"a","Epoch":1,"TemplateID":"t"},{"Bank":"b","Epoch":1,"TemplateID":"t"},{"Bank":"c","Epoch":2,"TemplateID":"t"}]`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := decodeTold(text)
		if err != nil {
			return
		}
		b, err := json.Marshal(set.Figures)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeTold(string(b)); err != nil || len(again.Figures) != len(set.Figures) {
			t.Fatalf("written again: %v", err)
		}
	})
}
