package audit

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
)

func signer(name string) ledger.KeySigner {
	seed := ledger.Sum([]byte("audit test " + name))
	k, err := crypto.ToECDSA(seed[:])
	if err != nil {
		panic(err)
	}
	return ledger.NewKeySigner(k)
}

// world is a ledger of one validator with perBlock transactions a block.
type world struct {
	genesis *ledger.Config
	headers []ledger.Header
	blocks  []Block
	leaves  []ledger.Hash // of all receipts
	first   []int         // leaf of the first receipt of a height
}

func newWorld(name string, heights, perBlock int) *world {
	c := &ledger.Config{Network: name, Protocol: 1, GenesisTime: 1_700_000_000_000, Limits: ledger.DefaultLimits()}
	c.Members = []ledger.Member{{ID: "bank", Name: "Bank", Roles: []string{"DATA_PROVIDER"}, Admins: []ledger.Address{signer("admin").Address()}}}
	c.Validators = []ledger.Validator{{
		ID: 1, Member: "bank", VoteKey: signer("vote").Address(), Addrs: []string{"/ip4/127.0.0.1/tcp/1"}, HostKey: ledger.HostKey(crypto.CompressPubkey(hostKey())),
	}}
	w := &world{genesis: c, headers: []ledger.Header{ledger.Genesis(c).Header}, blocks: []Block{{}}, first: []int{0}}
	log := ledger.NewLog()
	for h := 1; h <= heights; h++ {
		root, _ := ledger.LogRoot(log)
		tip := w.headers[h-1]
		head := ledger.Header{
			Domain: tip.Domain, ChainID: c.Hash(), Height: ledger.Height(h), Prev: tip.Hash(), Time: c.GenesisTime + uint64(h)*1000,
			ValidatorsHash: c.ValidatorsHash(), NextValidatorsHash: c.ValidatorsHash(), EngineMetaHash: ledger.HashMeta(nil),
			ExecHeight: tip.Height, StateRoot: ledger.EmptyStateRoot, ReceiptsRoot: root, ReceiptsSize: log.End(),
		}
		b := Block{Requests: [][]byte{}, Outcomes: []Outcome{}}
		w.first = append(w.first, len(w.leaves))
		for i := range perBlock {
			org := []string{"bank", "lender"}[i%2]
			tx := ledger.NewTransaction(ledger.Payload{
				ChainID: c.Hash(), Org: org, Key: signer(org).Address(), Contract: "access", Function: "Request", Args: [][]byte{},
				Nonce: [16]byte{byte(h), byte(h >> 8), byte(i), byte(i >> 8)}, NotBefore: head.Time, ValidUntil: head.Time + 1,
			})
			_ = tx.Sign(signer(org))
			ev := Event{"access", "request", fmt.Appendf(nil, `{"decision":"PERMIT","provider":%q}`, []string{"bank", "other"}[i/2%2])}
			r := ledger.Receipt{
				TxID: tx.ID(), Height: head.Height, Index: uint64(i), Code: "OK",
				Events: ledger.HashEvents([]ledger.Event{ledger.Event(ev)}), Writes: ledger.HashWrites(nil),
			}
			leaf := r.LeafHash()
			_ = log.Append(leaf[:], nil)
			w.leaves = append(w.leaves, leaf)
			b.Requests = append(b.Requests, tx.Encode())
			b.Outcomes = append(b.Outcomes, Outcome{r.Encode(), []Event{ev}})
		}
		head.TxRoot = ledger.TxRoot(b.Requests)
		b.Header = head.Encode()
		w.headers, w.blocks = append(w.headers, head), append(w.blocks, b)
	}
	return w
}

func (w *world) frontier(from int) Frontier {
	log := ledger.NewLog()
	for _, l := range w.leaves[:w.first[from]] {
		_ = log.Append(l[:], nil)
	}
	f := Frontier{Size: log.End()}
	for _, h := range log.Hashes() {
		f.Hashes = append(f.Hashes, ledger.Hash(h))
	}
	return f
}

// files are an export's, by name.
type files map[string][]byte

func (w *world) export(t testing.TB, from, to int, member string) files {
	t.Helper()
	var bufs [4]bytes.Buffer
	s := Scope{ChainID: w.genesis.Hash(), From: ledger.Height(from), To: ledger.Height(to), Member: member}
	x, err := NewWriter(Outputs{&bufs[0], &bufs[1], &bufs[2], &bufs[3]}, s, w.frontier(from), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := from
	for ; !x.Complete(); h++ {
		b := w.blocks[h]
		if h > to {
			b.Outcomes = nil
		}
		if err := x.Add(&b); err != nil {
			t.Fatal(err)
		}
	}
	cert := w.certificate(h - 1)
	if err := x.Finish(cert, Exporter{"regulator", signer("regulator"), time.Unix(1_700_000_000, 0)}); err != nil {
		t.Fatal(err)
	}
	return files{ProofFile: bufs[0].Bytes(), RecordsFile: bufs[1].Bytes(), TableFile: bufs[2].Bytes(), ManifestFile: bufs[3].Bytes()}
}

func (w *world) certificate(h int) *ledger.Certificate {
	c := &ledger.Certificate{Header: w.headers[h].Hash()}
	sig, _ := signer("vote").Sign(ledger.VoteDigest(c.Header, 0))
	c.Votes = []ledger.Vote{{Validator: 1, Sig: sig}}
	return c
}

func (f files) verify(g *ledger.Config) (*Verified, error) {
	return Verify(g, Inputs{bytes.NewReader(f[ProofFile]), bytes.NewReader(f[RecordsFile]), bytes.NewReader(f[TableFile]), bytes.NewReader(f[ManifestFile])})
}

func TestAnExportIsAcceptedWithGenesisAlone(t *testing.T) {
	w := newWorld("a", 12, 5)
	for _, from := range []int{1, 2, 6} {
		for member, want := range map[string]uint64{"": 5, "lender": 2, "other": 2, "nobody": 0} {
			v, err := w.export(t, from, 10, member).verify(w.genesis)
			if err != nil {
				t.Fatal(err)
			}
			if n := uint64(11 - from); v.Blocks != n || v.Records != n*want || v.Manifest.Exporter != "regulator" {
				t.Errorf("from %d, member %q: %d blocks and %d records by %s, want %d and %d", from, member, v.Blocks, v.Records, v.Manifest.Exporter, n, n*want)
			}
		}
	}
}

// resign makes the manifest name the files as they are now: what is found then is
// found by the proof, not by the exporter's signature.
func (f files) resign(t *testing.T) {
	t.Helper()
	m, err := readManifest(bytes.NewReader(f[ManifestFile]))
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range m.Files {
		c := newCounted(new(bytes.Buffer))
		_, _ = c.Write(f[x.Name])
		m.Files[i] = c.file(x.Name)
	}
	d, err := m.digest()
	if err != nil {
		t.Fatal(err)
	}
	m.Key = signer("regulator").Address()
	m.Sig, _ = signer("regulator").Sign(d)
	var b bytes.Buffer
	if err := put(&b, m); err != nil {
		t.Fatal(err)
	}
	f[ManifestFile] = b.Bytes()
}

func edit(name string, change func([][]byte) [][]byte) func(files) {
	return func(f files) {
		f[name] = bytes.Join(change(bytes.SplitAfter(bytes.Clone(f[name]), []byte("\n"))), nil)
	}
}

func remove(i int) func([][]byte) [][]byte {
	return func(l [][]byte) [][]byte { return slices.Delete(l, i, i+1) }
}

func swap(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }

func double(l [][]byte) [][]byte { return slices.Insert(l, 3, l[2]) }

func TestTamperingIsFoundEvenIfTheExporterSignsIt(t *testing.T) {
	w := newWorld("a", 12, 5)
	for name, tc := range map[string]struct {
		tamper func(files)
		want   string
	}{
		"changed record":  {edit(RecordsFile, func(l [][]byte) [][]byte { l[4] = bytes.Replace(l[4], []byte("PERMIT"), []byte("DENIED"), 1); return l }), "records.jsonl line 5"},
		"removed record":  {edit(RecordsFile, remove(4)), "records.jsonl line 5"},
		"added record":    {edit(RecordsFile, double), "records.jsonl line 4"},
		"swapped records": {edit(RecordsFile, swap), "records.jsonl line 3"},
		"no last record":  {edit(RecordsFile, func(l [][]byte) [][]byte { return l[:len(l)-2] }), "records.jsonl ends"},
		"truncated":       {func(f files) { f[RecordsFile] = f[RecordsFile][:len(f[RecordsFile])-9] }, "truncated"},
		"table disagrees": {edit(TableFile, func(l [][]byte) [][]byte { l[4] = bytes.Replace(l[4], []byte("OK"), []byte("KO"), 1); return l }), "records.csv line 5"},
		"added row":       {func(f files) { f[TableFile] = append(f[TableFile], "x\r\n"...) }, "it was added"},
		"removed block":   {edit(ProofFile, remove(3)), "a block was removed"},
		"swapped blocks":  {edit(ProofFile, swap), "a block was removed"},
		"repeated block":  {edit(ProofFile, double), "a block was removed"},
		"no last blocks":  {edit(ProofFile, func(l [][]byte) [][]byte { return slices.Delete(l, len(l)-4, len(l)-2) }), "missing at the end"},
		"no certificate":  {edit(ProofFile, func(l [][]byte) [][]byte { return l[:len(l)-2] }), "truncated"},
		"proof cut":       {func(f files) { f[ProofFile] = f[ProofFile][:len(f[ProofFile])/2] }, "truncated"},
		"altered header":  {edit(ProofFile, onBlock(2, func(b *Block) { b.Header[len(b.Header)-40] ^= 1 })), "proof.jsonl line"},
		"removed request": {edit(ProofFile, onBlock(2, func(b *Block) { b.Requests, b.Outcomes = b.Requests[1:], b.Outcomes[1:] })), "header commits to"},
		"altered event":   {edit(ProofFile, onBlock(2, func(b *Block) { b.Outcomes[1].Events[0].Name = "receipt" })), "receipt commits to"},
		"removed event":   {edit(ProofFile, onBlock(2, func(b *Block) { b.Outcomes[1].Events = nil })), "receipt commits to"},
		"removed receipt": {edit(ProofFile, onBlock(2, func(b *Block) { b.Outcomes = b.Outcomes[:4] })), "no receipt"},
		"altered receipt": {edit(ProofFile, onBlock(2, func(b *Block) {
			r, _ := ledger.DecodeReceipt(b.Outcomes[1].Receipt)
			r.Writes[0] ^= 1
			b.Outcomes[1].Receipt = r.Encode()
		})), "certifies other receipts"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, signed := range []bool{false, true} {
				f := w.export(t, 3, 9, "")
				tc.tamper(f)
				if signed {
					f.resign(t)
				}
				if _, err := f.verify(w.genesis); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("signed by the exporter: %v: %v, want %q", signed, err, tc.want)
				}
			}
		})
	}
}

// onBlock changes a line of the proof file that holds a block.
func onBlock(i int, change func(*Block)) func([][]byte) [][]byte {
	return func(l [][]byte) [][]byte {
		var x line
		if err := strict(bytes.TrimSuffix(l[i], []byte("\n")), &x); err != nil {
			panic(err)
		}
		change(x.Block)
		var b bytes.Buffer
		if err := put(&b, &x); err != nil {
			panic(err)
		}
		l[i] = b.Bytes()
		return l
	}
}

func TestAnotherGenesisAndAnotherSignatureAreFound(t *testing.T) {
	w, other := newWorld("a", 6, 3), newWorld("b", 1, 1)
	f := w.export(t, 1, 4, "")
	if _, err := f.verify(other.genesis); err == nil || !strings.Contains(err.Error(), "it is of network") {
		t.Errorf("another genesis: %v", err)
	}
	f[ManifestFile] = bytes.Replace(f[ManifestFile], []byte(`"regulator"`), []byte(`"somebody"`), 1)
	if _, err := f.verify(w.genesis); err == nil || !strings.Contains(err.Error(), "signature is wrong") {
		t.Errorf("another exporter: %v", err)
	}
}

func TestTheFrontierFollowsFromTheFirstReceipt(t *testing.T) {
	w := newWorld("a", 9, 3)
	for h := 1; h <= 9; h++ {
		i, n := w.first[h], len(w.leaves)
		got, err := FrontierOf(&ledger.LogProof{Index: uint64(i), Size: uint64(n), Hashes: path(w.leaves, i)})
		if want := w.frontier(h); err != nil || got.Size != want.Size || !slices.Equal(got.Hashes, want.Hashes) {
			t.Errorf("height %d: %v %v, want %v", h, got, err, want)
		}
	}
}

// path is the audit path of RFC 6962, as its text defines it.
func path(leaves []ledger.Hash, m int) []ledger.Hash {
	if len(leaves) < 2 {
		return nil
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	if m < k {
		return append(path(leaves[:k], m), treeRoot(leaves[k:]))
	}
	return append(path(leaves[k:], m-k), treeRoot(leaves[:k]))
}

func treeRoot(leaves []ledger.Hash) ledger.Hash {
	log := ledger.NewLog()
	for _, l := range leaves {
		_ = log.Append(l[:], nil)
	}
	r, _ := ledger.LogRoot(log)
	return r
}

func TestTheTableHoldsNoFormula(t *testing.T) {
	var b bytes.Buffer
	if err := writeTable(&b, []Record{{Member: "=1+1", Call: "@x", Code: "-1", Event: "+1"}}); err != nil {
		t.Fatal(err)
	}
	for _, cell := range []string{"'=1+1", "'@x", "'-1", "'+1"} {
		if !strings.Contains(b.String(), ","+cell+",") {
			t.Errorf("%q lacks %s", b.String(), cell)
		}
	}
}

func FuzzVerify(f *testing.F) {
	w := newWorld("a", 4, 2)
	x := w.export(f, 1, 2, "")
	f.Add(x[ProofFile], x[RecordsFile], x[TableFile], x[ManifestFile])
	f.Fuzz(func(t *testing.T, proof, records, table, manifest []byte) {
		in := files{ProofFile: proof, RecordsFile: records, TableFile: table, ManifestFile: manifest}
		if _, err := in.verify(w.genesis); err != nil {
			return
		}
		for name, b := range x {
			if !bytes.Equal(b, in[name]) && name != ManifestFile {
				t.Fatalf("an altered %s was accepted", name)
			}
		}
	})
}

func hostKey() *ecdsa.PublicKey {
	seed := ledger.Sum([]byte("audit test host"))
	k, _ := crypto.ToECDSA(seed[:])
	return &k.PublicKey
}
