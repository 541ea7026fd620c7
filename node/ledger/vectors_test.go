package ledger_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"
)

// go test ./node/ledger -run TestVectors -rewrite writes testdata/vectors anew.
// A change there is a change of the ledger's format: other implementations break.
var rewrite = flag.Bool("rewrite", false, "write testdata/vectors instead of comparing with it")

// blob is bytes that JSON shows as 0x-hex.
type blob []byte

func (b blob) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(b)), nil }

func (b *blob) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(strings.TrimPrefix(string(text), "0x"))
	return err
}

func blobs(in [][]byte) []blob {
	out := make([]blob, len(in))
	for i := range in {
		out[i] = in[i]
	}
	return out
}

func hashBlob(h ledger.Hash) blob { return h[:] }

// checkVectors compares v with a file of testdata/vectors, or writes it.
func checkVectors(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", "vectors", name+".json")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs: other implementations would break (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

// loadVectors reads a published file strictly.
func loadVectors[T any](t *testing.T, name string) T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "vectors", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// payloadVector shows a payload's fields.
type payloadVector struct {
	ChainID    blob   `json:"chainId"`
	Org        string `json:"org"`
	Key        blob   `json:"key"`
	Contract   string `json:"contract"`
	Function   string `json:"function"`
	Args       []blob `json:"args"`
	Nonce      blob   `json:"nonce"`
	NotBefore  uint64 `json:"notBefore"`
	ValidUntil uint64 `json:"validUntil"`
}

type transactionVector struct {
	Name      string         `json:"name"`
	Payload   *payloadVector `json:"payload,omitempty"`   // of valid ones
	ID        blob           `json:"id,omitempty"`        // also the digest that is signed
	Signature blob           `json:"signature,omitempty"` //
	Signed    blob           `json:"signed"`              // the bytes on the ledger
	Refused   string         `json:"refused,omitempty"`   // why it is: "decode", "chain", "signature"
}

type transactionVectors struct {
	Comment    string              `json:"comment"`
	ChainID    blob                `json:"chainId"`
	PrivateKey blob                `json:"privateKey"`
	Valid      []transactionVector `json:"valid"`
	Refused    []transactionVector `json:"refused"`
}

func vectorPayload(args ...[]byte) ledger.Payload {
	p := ledger.Payload{
		ChainID: ledgertest.Config(4).Hash(), Org: "member-01", Key: ledgertest.Signer("client").Address(),
		Contract: "consent", Function: "Create", Args: args, NotBefore: 1_760_000_000_000, ValidUntil: 1_760_000_300_000,
	}
	for i := range p.Nonce {
		p.Nonce[i] = byte(i)
	}
	return p
}

func signed(t testing.TB, p ledger.Payload) *ledger.Transaction {
	t.Helper()
	tx := ledger.NewTransaction(p)
	if err := tx.Sign(ledgertest.Signer("client")); err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestVectorsOfTransactions(t *testing.T) {
	v := transactionVectors{
		Comment:    "Transactions, signed with privateKey (RFC 6979, so that signatures repeat). The refused ones must not enter a block of the chain.",
		ChainID:    hashBlob(ledgertest.Config(4).Hash()),
		PrivateKey: crypto.FromECDSA(ledgertest.Key("client")),
	}
	long := vectorPayload([]byte(`{"consentId":"0x01"}`), bytes.Repeat([]byte{0xab}, 300))
	long.ValidUntil = long.NotBefore + ledger.MaxValidityMillis
	zero := vectorPayload([]byte{0}, []byte{0x7f}, []byte{0x80})
	zero.NotBefore, zero.ValidUntil = 0, 0
	for _, tt := range []struct {
		name string
		p    ledger.Payload
	}{
		{"no arguments", vectorPayload()},
		{"one empty argument", vectorPayload([]byte{})},
		{"two arguments, longest validity", long},
		{"one-byte arguments, times of zero", zero},
	} {
		tx := signed(t, tt.p)
		id := tx.ID()
		v.Valid = append(v.Valid, transactionVector{
			Name: tt.name, ID: id[:], Signature: tx.Sig[:], Signed: tx.Encode(),
			Payload: &payloadVector{
				ChainID: hashBlob(tt.p.ChainID), Org: tt.p.Org, Key: tt.p.Key[:], Contract: tt.p.Contract, Function: tt.p.Function,
				Args: blobs(tt.p.Args), Nonce: tt.p.Nonce[:], NotBefore: tt.p.NotBefore, ValidUntil: tt.p.ValidUntil,
			},
		})
	}
	for _, tt := range refusedTransactions(t) {
		v.Refused = append(v.Refused, transactionVector{Name: tt.name, Signed: tt.bytes, Refused: tt.why})
	}
	checkVectors(t, "transactions", &v)
}

type refusedBytes struct {
	name  string
	bytes []byte
	why   string
}

// refusedTransactions are wrong in one way each.
func refusedTransactions(t testing.TB) []refusedBytes {
	var out []refusedBytes
	change := func(name, why string, f func(p *ledger.Payload)) {
		p := vectorPayload([]byte("x"))
		f(&p)
		out = append(out, refusedBytes{name, signed(t, p).Encode(), why})
	}
	change("another chain", "chain", func(p *ledger.Payload) { p.ChainID[0] ^= 1 })
	change("17 arguments", "decode", func(p *ledger.Payload) { p.Args = make([][]byte, 17) })
	change("no organisation", "decode", func(p *ledger.Payload) { p.Org = "" })
	change("a contract of 65 bytes", "decode", func(p *ledger.Payload) { p.Contract = strings.Repeat("a", 65) })
	change("a slash in the function", "decode", func(p *ledger.Payload) { p.Function = "a/b" })
	change("validity that ends before it begins", "decode", func(p *ledger.Payload) { p.ValidUntil = p.NotBefore - 1 })
	change("validity a millisecond too long", "decode", func(p *ledger.Payload) { p.ValidUntil = p.NotBefore + ledger.MaxValidityMillis + 1 })

	p := vectorPayload([]byte("x"))
	sign := func(name string, f func(s *ledger.Signature)) {
		tx := signed(t, p)
		f(&tx.Sig)
		out = append(out, refusedBytes{name, tx.Encode(), "signature"})
	}
	sign("high s", func(s *ledger.Signature) { *s = highS(*s) })
	sign("v of 27", func(s *ledger.Signature) { s[64] += 27 })
	sign("the other v", func(s *ledger.Signature) { s[64] ^= 1 })
	sign("r of zero", func(s *ledger.Signature) { clear(s[:32]) })
	sign("s of zero", func(s *ledger.Signature) { clear(s[32:64]) })
	sign("the signature of another transaction", func(s *ledger.Signature) { *s = signed(t, vectorPayload()).Sig })

	tx := signed(t, p)
	body := payloadList(p)
	bad := func(name string, b []byte) { out = append(out, refusedBytes{name, b, "decode"}) }
	put := func(i int, v any) []any {
		l := slices.Clone(body)
		l[i] = v
		return l
	}
	bad("nothing", []byte{})
	bad("an empty list", []byte{0xc0})
	bad("a byte behind", append(tx.Encode(), 0))
	bad("cut by a byte", tx.Encode()[:len(tx.Encode())-1])
	bad("no signature", twinRLP([]any{body}))
	bad("a third element", twinRLP([]any{body, tx.Sig, ""}))
	bad("a signature of 64 bytes", twinRLP([]any{body, tx.Sig[:64]}))
	bad("another domain", twinRLP([]any{put(0, "assent/transaction/2"), tx.Sig}))
	bad("a field more", twinRLP([]any{append(slices.Clone(body), ""), tx.Sig}))
	bad("a field less", twinRLP([]any{body[:len(body)-1], tx.Sig}))
	bad("a list for a name", twinRLP([]any{put(2, []any{}), tx.Sig}))
	bad("a nonce of 15 bytes", twinRLP([]any{put(7, make([]byte, 15)), tx.Sig}))
	bad("a time with a leading zero", twinRLP([]any{put(8, append([]byte{0}, twinInt(p.NotBefore)...)), tx.Sig}))
	bad("a time of nine bytes", twinRLP([]any{put(9, bytes.Repeat([]byte{1}, 9)), tx.Sig}))
	bad("a length in the long form", twinRLP([]any{put(4, raw("\xb8\x07consent")), tx.Sig}))
	bad("a byte with a length", twinRLP([]any{put(6, []any{raw("\x81x")}), tx.Sig}))
	return out
}

// payloadList is a payload as SPEC.md lays it out.
func payloadList(p ledger.Payload) []any {
	args := []any{}
	for _, a := range p.Args {
		args = append(args, a)
	}
	return []any{"assent/transaction/1", p.ChainID, p.Org, p.Key, p.Contract, p.Function, args, p.Nonce[:], p.NotBefore, p.ValidUntil}
}

func highS(s ledger.Signature) ledger.Signature {
	n := crypto.S256().Params().N
	b := bytesToInt(s[32:64])
	b.Sub(n, b).FillBytes(s[32:64])
	s[64] ^= 1
	return s
}
