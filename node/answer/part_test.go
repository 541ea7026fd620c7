package answer

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

func samplePart() *record.SealedPart {
	return &record.SealedPart{
		Account: "62220001", ChainID: hash(0xc1), ConsentID: consentID, Contacts: []record.Contact{{Kind: record.Phone, Value: "+86 10 0000"}},
		Endorsement:    &record.WalletEndorsement{Signature: bytes.Repeat([]byte{7}, 65), Wallet: record.Address{8}},
		NoticeLanguage: "zh-CN", Salt: hash(0x5a), SubjectID: "cn:110101199001011234", Version: 1,
	}
}

func TestPartOpensForItsRecipient(t *testing.T) {
	k := key(t)
	s, err := SealPart(k.PublicKey(), "bank-a", "data-1", samplePart())
	if err != nil {
		t.Fatal(err)
	}
	wire, err := DecodeSealedPart(s.Encode())
	if err != nil {
		t.Fatal(err)
	}
	want := PartContext{hash(0xc1), consentID, 1, "bank-a", "data-1"}
	got, err := OpenPart(k, want, wire)
	if err != nil || !reflect.DeepEqual(got, samplePart()) {
		t.Fatalf("opened %+v: %v", got, err)
	}
}

func TestEveryBoundFieldOfAPartIsBound(t *testing.T) {
	k := key(t)
	sealed, err := SealPart(k.PublicKey(), "bank-a", "data-1", samplePart())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*PartContext){
		"chain id":   func(c *PartContext) { c.ChainID[0]++ },
		"consent id": func(c *PartContext) { c.ConsentID = record.NewConsentID([16]byte{9}) },
		"version":    func(c *PartContext) { c.Version++ },
		"recipient":  func(c *PartContext) { c.Recipient = "bank-b" },
		"key id":     func(c *PartContext) { c.KeyID = "data-2" },
	} {
		want, s := sealed.Context, sealed
		change(&want)
		if _, err := OpenPart(k, want, s); !errors.Is(err, ErrSealed) {
			t.Errorf("%s expected differently: %v", name, err)
		}
		s.Context = want // the envelope forged to say the same
		if _, err := OpenPart(k, want, s); !errors.Is(err, ErrSealed) {
			t.Errorf("%s forged on the envelope: %v", name, err)
		}
		// Sealed by hand for that context around the same part: the inside tells.
		if name == "recipient" || name == "key id" {
			continue // not inside
		}
		plain, err := record.Encode(samplePart())
		if err != nil {
			t.Fatal(err)
		}
		box, err := seal(k.PublicKey(), want.info(), pad(plain, padUnit))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPart(k, want, SealedPart{want, box}); !errors.Is(err, ErrSealed) {
			t.Errorf("%s differs inside: %v", name, err)
		}
	}
	for i := range sealed.Box {
		if i%37 != 0 && i != len(sealed.Box)-1 {
			continue
		}
		s := sealed
		s.Box = bytes.Clone(sealed.Box)
		s.Box[i] ^= 0x10
		if _, err := OpenPart(k, s.Context, s); !errors.Is(err, ErrSealed) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if _, err := OpenPart(key(t), sealed.Context, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("another key: %v", err)
	}
}

func TestPartsHideTheirLength(t *testing.T) {
	k := key(t)
	lengths := map[int]bool{}
	for _, id := range []string{"1", "cn:110101199001011234"} {
		p := samplePart()
		p.SubjectID = id
		s, err := SealPart(k.PublicKey(), "bank-a", "data-1", p)
		if err != nil {
			t.Fatal(err)
		}
		if (len(s.Box)-sealOverhead)%padUnit != 0 {
			t.Errorf("box of %d bytes", len(s.Box))
		}
		lengths[len(s.Encode())] = true
	}
	if len(lengths) != 1 {
		t.Errorf("the length tells the identifier's: %v", lengths)
	}
}

func TestBadPartsAreNotSealed(t *testing.T) {
	k := key(t)
	for name, change := range map[string]func(*record.SealedPart){
		"no subject":  func(p *record.SealedPart) { p.SubjectID = "" },
		"no salt":     func(p *record.SealedPart) { p.Salt = Hash{} },
		"no version":  func(p *record.SealedPart) { p.Version = 0 },
		"consent id":  func(p *record.SealedPart) { p.ConsentID = "Wang Xiaoming" },
		"long string": func(p *record.SealedPart) { p.SubjectID = strings.Repeat("x", 9000) },
	} {
		p := samplePart()
		change(p)
		_, err := SealPart(k.PublicKey(), "bank-a", "data-1", p)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "Wang") {
			t.Errorf("%s: the error repeats the content: %v", name, err)
		}
	}
	if _, err := SealPart(k.PublicKey(), "", "data-1", samplePart()); !errors.Is(err, ErrMalformed) {
		t.Errorf("no recipient: %v", err)
	}
}

func FuzzDecodeSealedPart(f *testing.F) {
	s, err := SealPart(key(f).PublicKey(), "bank-a", "data-1", samplePart())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSealedPart(b)
		if err == nil && !bytes.Equal(s.Encode(), b) {
			t.Fatal("decoding and encoding again is not the identity")
		}
	})
}
