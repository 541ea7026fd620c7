package badinput

import (
	"crypto/rand"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// testTransactions: bytes that may not be ordered, or not twice.
func testTransactions(t *testing.T, w *world) {
	x := w.nodes[lender]
	p := w.as("lender/integration")
	bearer := w.bearer(t, p, x.node)
	call := func(change func(*ledger.Payload)) ledger.Payload {
		pl := w.payload(p, "consent", "Expire", "0x"+strings.Repeat("1", 32))
		if change != nil {
			change(&pl)
		}
		return pl
	}
	signed := func(change func(*ledger.Payload)) []byte { return sign(t, p, call(change)).Encode() }
	resigned := func(change func(*ledger.Signature)) []byte {
		tx := sign(t, p, call(nil))
		change(&tx.Sig)
		return tx.Encode()
	}
	good := signed(nil)
	var noise [200]byte
	rand.Read(noise[:])
	domain, err := rlp.EncodeToBytes([]any{[]any{"assent/transaction/9", []byte{1}}, []byte{2}})
	if err != nil {
		t.Fatal(err)
	}
	bad := func(says ...string) refusal { return refusal{400, "invalid_argument", "BAD_REQUEST", says} }
	unsound := refusal{400, "invalid_argument", "BAD_SIGNATURE", nil}
	for name, c := range map[string]struct {
		tx   []byte
		want refusal
	}{
		"noise":                    {noise[:], bad("transaction")},
		"cut short":                {good[:len(good)-1], bad("transaction")},
		"more behind it":           {append(slices.Clone(good), 0), bad("transaction")},
		"of another version":       {domain, bad("transaction")},
		"another network":          {signed(func(p *ledger.Payload) { p.ChainID[0] ^= 1 }), refusal{400, "failed_precondition", "WRONG_CHAIN", []string{"made for another network", w.chain.Hex()}}},
		"member that is none":      {signed(func(p *ledger.Payload) { p.Org = "nobody" }), bad(`org "nobody" is no member`)},
		"member's name with a gap": {signed(func(p *ledger.Payload) { p.Org = "my bank" }), bad("org has byte 0x20 at 2")},
		"expired":                  {signed(func(p *ledger.Payload) { p.NotBefore -= 3_600_000; p.ValidUntil -= 3_600_000 }), refusal{400, "failed_precondition", "NOT_VALID_NOW", []string{"sign it anew"}}},
		"about to expire":          {signed(func(p *ledger.Payload) { p.NotBefore -= 540_000; p.ValidUntil -= 540_000 }), refusal{400, "failed_precondition", "NOT_VALID_NOW", []string{"wants 60000 ms left"}}},
		"not valid yet":            {signed(func(p *ledger.Payload) { p.NotBefore += 120_000; p.ValidUntil += 120_000 }), refusal{400, "failed_precondition", "NOT_VALID_NOW", []string{"ahead of this node's clock", "check the client's clock"}}},
		"valid for too long":       {signed(func(p *ledger.Payload) { p.ValidUntil += 1 }), bad("last at most 600000 ms")},
		"ends before it begins":    {signed(func(p *ledger.Payload) { p.ValidUntil = p.NotBefore - 1 }), bad("must end after it begins")},
		"valid for no time":        {signed(func(p *ledger.Payload) { p.ValidUntil = p.NotBefore }), refusal{400, "failed_precondition", "NOT_VALID_NOW", []string{"wants 60000 ms left"}}},
		"of the end of time":       {signed(func(p *ledger.Payload) { p.NotBefore, p.ValidUntil = math.MaxUint64-1, math.MaxUint64 }), refusal{400, "failed_precondition", "NOT_VALID_NOW", []string{"ahead of this node's clock"}}},
		"of the beginning of time": {signed(func(p *ledger.Payload) { p.NotBefore, p.ValidUntil = 0, ledger.MaxValidityMillis }), refusal{400, "failed_precondition", "NOT_VALID_NOW", []string{"sign it anew"}}},
		"that wraps around":        {signed(func(p *ledger.Payload) { p.ValidUntil = math.MaxUint64 }), bad("last at most 600000 ms")},
		"seventeen arguments":      {signed(func(p *ledger.Payload) { p.Args = make([][]byte, 17) }), bad("transaction")},
		"function without a name":  {signed(func(p *ledger.Payload) { p.Function = "" }), bad("function has 0 bytes")},
		"high s":                   {resigned(highS), unsound},
		"v of 27":                  {resigned(func(s *ledger.Signature) { s[64] += 27 }), unsound},
		"v of 4":                   {resigned(func(s *ledger.Signature) { s[64] = 4 }), unsound},
		"signature of zeros":       {resigned(func(s *ledger.Signature) { *s = ledger.Signature{} }), unsound},
		"signature of another":     {resigned(func(s *ledger.Signature) { s[3] ^= 1 }), unsound},
	} {
		t.Run(name, func(t *testing.T) {
			r, o := x.submit(t, bearer, c.tx)
			if o != nil {
				t.Fatalf("it was ordered: %+v", o)
			}
			c.want.check(t, r)
		})
	}
	t.Run("again", func(t *testing.T) { testReplay(t, w) })
	t.Run("signed by a key that nobody registered", func(t *testing.T) {
		key, err := crypto.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		stranger := &person{lender, "integration", ledger.NewKeySigner(key)}
		r, _ := x.submit(t, bearer, sign(t, stranger, w.payload(stranger, "consent", "Expire", "0x"+strings.Repeat("1", 32))).Encode())
		refusal{403, "permission_denied", "UNKNOWN_KEY", []string{"not registered"}}.check(t, r)
	})
	t.Run("in the name of another member", func(t *testing.T) {
		r, _ := x.submit(t, bearer, signed(func(p *ledger.Payload) { p.Org = bank }))
		refusal{403, "permission_denied", "UNKNOWN_KEY", []string{"not registered"}}.check(t, r)
	})
	w.commits(t)
}

// highS turns a signature into its twin, which recovers to the same key.
func highS(s *ledger.Signature) {
	high := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(s[32:64]))
	high.FillBytes(s[32:64])
	s[64] ^= 1
}

// testReplay: the same bytes once more are the same transaction, through any
// node; what became of it is told again.
func testReplay(t *testing.T, w *world) {
	p := w.as("lender/admin")
	x := w.nodes[lender]
	pl := w.payload(p, "membership", "RegisterClient", `{"address":"0x00000000000000000000000000000000000000aa","label":"once","roles":["auditor"]}`)
	tx := sign(t, p, pl).Encode()
	r, first := x.submit(t, w.bearer(t, p, x.node), tx)
	if first == nil || first.Code != "OK" {
		t.Fatalf("first: %d %s %+v", r.status, r.message, first)
	}
	for _, member := range []string{lender, bank} {
		who := w.as(member + "/integration")
		y := w.nodes[member]
		r, again := y.submit(t, w.bearer(t, who, y.node), tx)
		switch {
		case again == nil:
			t.Errorf("again at %s: %d %s %s", member, r.status, r.code(), r.message)
		case again.TxID != first.TxID || again.Height != first.Height || again.Code != "OK":
			t.Errorf("again at %s: %+v, first was %+v", member, again, first)
		}
	}
	// Another transaction that says the same is another transaction.
	pl.Nonce[0]++
	r, other := x.submit(t, w.bearer(t, p, x.node), sign(t, p, pl).Encode())
	refused(t, r, other, "ALREADY_EXISTS")
}
