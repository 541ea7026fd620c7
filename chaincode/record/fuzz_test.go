package record

import (
	"bytes"
	"testing"
)

// FuzzDecode runs every decoder: none panics, and what one accepts it writes
// back byte for byte, checked or not.
func FuzzDecode(f *testing.F) {
	kinds := fixtures()
	for i, k := range kinds {
		data, err := Encode(k.full)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), data)
	}
	f.Add(byte(0), []byte(`{"address":"","org":"\u0000"}`))
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		k := kinds[int(which)%len(kinds)]
		r := k.zero()
		if err := Decode(data, r); err != nil {
			return
		}
		again, err := Encode(r)
		if err != nil {
			t.Fatalf("%s reads %q but cannot write it: %v", k.name, data, err)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%s reads %q and writes %q", k.name, data, again)
		}
		if checked, ok := r.(Checked); ok {
			_ = checked.Check()
		}
		if c, err := Parse[OrderingConfig](string(data)); err == nil && c.Check() != nil {
			t.Fatal("a config was taken without its check")
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add(make([]byte, 65), make([]byte, 32))
	f.Fuzz(func(t *testing.T, sig, digest []byte) {
		var d Hash
		copy(d[:], digest)
		if err := Verify(d, sig, sampleAddress(1)); err == nil {
			t.Fatal("forged")
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add("access/log/request/0x00", "bank-a")
	f.Fuzz(func(t *testing.T, key, id string) {
		contract, rest, _, err := SplitKey(key)
		if err == nil && contract+"/"+rest != key {
			t.Fatalf("%q falls apart into %q and %q", key, contract, rest)
		}
		if a, err := ParseAddress(id); err == nil && FormatAddress(a) != id {
			t.Fatalf("address %q has a second spelling", id)
		}
		if h, err := ParseHash(id); err == nil && h.Hex() != id {
			t.Fatalf("hash %q has a second spelling", id)
		}
		if OrgID(id).Check() == nil {
			if _, rest, kind, err := SplitKey(MemberKey(OrgID(id))); err != nil || kind != KeyRecord || rest != "member/"+id {
				t.Fatalf("organisation id %q escapes its key", id)
			}
		}
	})
}

func FuzzParseParams(f *testing.F) {
	f.Add(sampleRequest().Params.JSON())
	f.Add(`{}`)
	f.Add(`{},"x":{}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseParams(text)
		if err == nil && p.JSON() != text {
			t.Fatalf("%q is written back as %q", text, p.JSON())
		}
		if err == nil && p.Digest() == (Hash{}) {
			t.Fatalf("%q has no digest", text)
		}
	})
}
