package ledger_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTransactionIsWhatWasSigned(t *testing.T) {
	p := vectorPayload([]byte("a"), nil, []byte{})
	tx := signed(t, p)
	back, err := ledger.DecodeTransaction(tx.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if back.ID() != tx.ID() || back.Sig != tx.Sig || !cmp.Equal(back.Payload, tx.Payload, cmpopts.EquateEmpty()) {
		t.Errorf("decoded %+v", back)
	}
	if !bytes.Equal(back.Encode(), tx.Encode()) {
		t.Error("the encoding changed")
	}
	// What was decoded does not hang on the bytes it came from.
	b := tx.Encode()
	if back, err = ledger.DecodeTransaction(b); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if err := back.Verify(p.ChainID); err != nil || string(back.Payload.Args[0]) != "a" {
		t.Errorf("after the bytes were cleared: %v", err)
	}
}

func TestNilAndEmptyArgumentsAreTheSame(t *testing.T) {
	if signed(t, vectorPayload()).ID() != signed(t, vectorPayload([][]byte{}...)).ID() {
		t.Error("no arguments and an empty list differ")
	}
	if signed(t, vectorPayload(nil)).ID() != signed(t, vectorPayload([]byte{})).ID() {
		t.Error("a nil and an empty argument differ")
	}
	if signed(t, vectorPayload()).ID() == signed(t, vectorPayload(nil)).ID() {
		t.Error("no argument and an empty one are the same")
	}
}

func TestSignerMustBeTheKeyOfThePayload(t *testing.T) {
	tx := ledger.NewTransaction(vectorPayload())
	if err := tx.Sign(ledgertest.Signer("another")); !errors.Is(err, ledger.ErrWrongSigner) {
		t.Errorf("got %v", err)
	}
	broken := errors.New("key is locked")
	if err := tx.Sign(brokenSigner{tx.Payload.Key, broken}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := ledger.NewSeal(ledger.Hash{}, 1, brokenSigner{err: broken}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := (&ledger.Status{}).Sign(brokenSigner{err: broken}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type brokenSigner struct {
	addr ledger.Address
	err  error
}

func (s brokenSigner) Address() ledger.Address { return s.addr }

func (s brokenSigner) Sign(ledger.Hash) (ledger.Signature, error) { return ledger.Signature{}, s.err }

func TestEveryFieldIsSigned(t *testing.T) {
	good := signed(t, vectorPayload([]byte("a"), []byte("b")))
	for what, f := range map[string]func(p *ledger.Payload){
		"chain":      func(p *ledger.Payload) { p.ChainID[31]++ },
		"org":        func(p *ledger.Payload) { p.Org = "member-02" },
		"key":        func(p *ledger.Payload) { p.Key[0]++ },
		"contract":   func(p *ledger.Payload) { p.Contract = "access" },
		"function":   func(p *ledger.Payload) { p.Function = "Revoke" },
		"args":       func(p *ledger.Payload) { p.Args = [][]byte{[]byte("ab"), {}} },
		"order":      func(p *ledger.Payload) { p.Args[0], p.Args[1] = p.Args[1], p.Args[0] },
		"nonce":      func(p *ledger.Payload) { p.Nonce[15]++ },
		"notBefore":  func(p *ledger.Payload) { p.NotBefore++ },
		"validUntil": func(p *ledger.Payload) { p.ValidUntil++ },
	} {
		p := vectorPayload([]byte("a"), []byte("b"))
		f(&p)
		tx := ledger.NewTransaction(p)
		tx.Sig = good.Sig
		if tx.ID() == good.ID() {
			t.Errorf("%s: same id", what)
		}
		if err := tx.Verify(p.ChainID); !errors.Is(err, ledger.ErrWrongSigner) && !errors.Is(err, ledger.ErrBadSignature) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestValidAtIncludesBothEnds(t *testing.T) {
	tx := signed(t, vectorPayload())
	from, to := tx.Payload.NotBefore, tx.Payload.ValidUntil
	for ms, want := range map[uint64]bool{from - 1: false, from: true, to: true, to + 1: false} {
		if tx.ValidAt(ms) != want {
			t.Errorf("valid at %d: %t", ms, !want)
		}
	}
}

func TestKindsAreToldApartByTheirTags(t *testing.T) {
	c := vectorChain(t)
	for _, tt := range []struct {
		req  []byte
		want ledger.Kind
		text string
	}{
		{c.Blocks[1].Requests[0], ledger.KindTransaction, "transaction"},
		{c.Blocks[1].Requests[2], ledger.KindSeal, "seal"},
		{c.Blocks[2].Requests[0], ledger.KindUpdate, "config update"},
		{c.Blocks[1].Header.Encode(), ledger.KindUnknown, "unknown"},
		{nil, ledger.KindUnknown, "unknown"},
		{[]byte{0xc0}, ledger.KindUnknown, "unknown"},
		{[]byte{0xc1, 0xc0}, ledger.KindUnknown, "unknown"},
		{twinRLP([]any{[]any{[]any{}}}), ledger.KindUnknown, "unknown"},
		{append(bytes.Clone(c.Blocks[1].Requests[0]), 0), ledger.KindUnknown, "unknown"},
	} {
		if got := ledger.KindOf(tt.req); got != tt.want || got.String() != tt.text {
			t.Errorf("%.20x: kind %s, want %s", tt.req, got, tt.text)
		}
	}
	for _, b := range [][]byte{nil, {0xc0}, {0x01}, {0xc1, 0x01}, append(bytes.Clone(c.Blocks[1].Requests[0]), 0)} {
		if _, err := ledger.RequestID(b); err == nil {
			t.Errorf("%x has a request id", b)
		}
	}
}

// TestHighSIsTheOnlyOtherSignature: recovery alone would take it, and one
// transaction would have two encodings.
func TestHighSIsTheOnlyOtherSignature(t *testing.T) {
	s := ledgertest.Signer("client")
	digest := ledger.Sum([]byte("digest"))
	sig, err := s.Sign(digest)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.Recover(digest, sig); err != nil || got != s.Address() {
		t.Fatalf("recovered %s, %v", got, err)
	}
	if highS(highS(sig)) != sig {
		t.Fatal("the twin is no involution")
	}
	for what, bad := range map[string]ledger.Signature{"high s": highS(sig), "v of 2": withV(sig, 2), "v of 27": withV(sig, 27), "zero": {}} {
		if _, err := ledger.Recover(digest, bad); !errors.Is(err, ledger.ErrBadSignature) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func withV(s ledger.Signature, v byte) ledger.Signature {
	s[64] = v
	return s
}

func TestGenesisHasOneHash(t *testing.T) {
	c := ledgertest.Config(4)
	g := ledger.Genesis(c)
	if g.Header.Hash() != ledger.Genesis(ledgertest.Clone(c)).Header.Hash() {
		t.Error("two nodes have two genesis blocks")
	}
	b, err := ledger.DecodeBlock(g.Encode())
	if err != nil || b.Header != g.Header || len(b.Requests) != 0 {
		t.Errorf("decoded %+v, %v", b, err)
	}
	other := ledgertest.Clone(c)
	other.GenesisTime++
	if ledger.Genesis(other).Header.Hash() == g.Header.Hash() || other.Hash() == c.Hash() {
		t.Error("two networks have one genesis")
	}
}

func TestBlockAndRequestsSurviveEncoding(t *testing.T) {
	c := vectorChain(t)
	for _, b := range c.Blocks {
		back, err := ledger.DecodeBlock(b.Encode())
		if err != nil || !cmp.Equal(back, b, cmpopts.EquateEmpty()) {
			t.Errorf("block %d: %v", b.Header.Height, err)
		}
		reqs, err := ledger.DecodeRequests(ledger.EncodeRequests(b.Requests))
		if err != nil || !cmp.Equal(reqs, b.Requests, cmpopts.EquateEmpty()) {
			t.Errorf("requests of block %d: %v", b.Header.Height, err)
		}
	}
	if !bytes.Equal(ledger.EncodeRequests(nil), ledger.EncodeRequests([][]byte{})) {
		t.Error("no requests and an empty list differ")
	}
	swapped := *c.Blocks[1]
	swapped.Requests = [][]byte{swapped.Requests[1], swapped.Requests[0], swapped.Requests[2]}
	if _, err := ledger.DecodeBlock(swapped.Encode()); err == nil {
		t.Error("requests in another order were accepted")
	}
	other := *c.Blocks[1]
	other.Meta = []byte("other")
	if err := other.CheckBody(); err == nil {
		t.Error("other metadata were accepted")
	}
}

func TestCheckRefusesWhatDecodingWouldRefuse(t *testing.T) {
	args := func(n, size int) (out [][]byte) {
		for range n {
			out = append(out, make([]byte, size))
		}
		return out
	}
	for name, change := range map[string]func(*ledger.Payload){
		"nothing":            func(*ledger.Payload) {},
		"empty name":         func(p *ledger.Payload) { p.Function = "" },
		"space in a name":    func(p *ledger.Payload) { p.Org = "a b" },
		"ends before":        func(p *ledger.Payload) { p.ValidUntil = p.NotBefore - 1 },
		"too long valid":     func(p *ledger.Payload) { p.ValidUntil = p.NotBefore + ledger.MaxValidityMillis + 1 },
		"most arguments":     func(p *ledger.Payload) { p.Args = args(ledger.MaxArgs, 1) },
		"too many arguments": func(p *ledger.Payload) { p.Args = args(ledger.MaxArgs+1, 1) },
		"large":              func(p *ledger.Payload) { p.Args = args(1, ledger.MaxRequestBytes-600) },
		"too large":          func(p *ledger.Payload) { p.Args = args(1, ledger.MaxRequestBytes) },
	} {
		p := ledger.Payload{Org: "a", Contract: "c", Function: "f", NotBefore: 1000, ValidUntil: 2000}
		change(&p)
		tx := ledger.NewTransaction(p)
		_, decoding := ledger.DecodeTransaction(tx.Encode())
		if checking := tx.Check(); (checking == nil) != (decoding == nil) {
			t.Errorf("%s: Check says %v, DecodeTransaction says %v", name, checking, decoding)
		}
	}
}
