package total

import (
	"reflect"
	"testing"
)

func FuzzTold(f *testing.F) {
	const figures = `[{"Bank":"a","Epoch":1,"TemplateID":"t"},{"Bank":"b","Epoch":1,"TemplateID":"t"},{"Bank":"c","Epoch":2,"TemplateID":"t"}]`
	f.Add(figures)
	f.Add(`{"Figures":` + figures + `,"Threshold":50000}`)
	f.Add(`{"Figures":` + figures + `}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := decodeTold(text)
		if err != nil {
			return
		}
		written, err := set.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeTold(written); err != nil || !reflect.DeepEqual(again, set) {
			t.Fatalf("written again: %+v, %v", again, err)
		}
	})
}
