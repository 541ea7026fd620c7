package ledger_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb/database"
)

type eventVector struct {
	Contract string `json:"contract"`
	Name     string `json:"name"`
	Payload  blob   `json:"payload"`
}

type writeVector struct {
	Key    string `json:"key"`
	Value  blob   `json:"value"`
	Delete bool   `json:"delete"`
}

type receiptVector struct {
	Name       string        `json:"name"`
	TxID       blob          `json:"txId"`
	Height     uint64        `json:"height"`
	Index      uint64        `json:"index"`
	Code       string        `json:"code"`
	Events     []eventVector `json:"events"`
	EventsHash blob          `json:"eventsHash"`
	Writes     []writeVector `json:"writes"`
	WritesHash blob          `json:"writesHash"`
	Encoded    blob          `json:"encoded"`
	LeafHash   blob          `json:"leafHash"`
}

type keyVector struct {
	Key     string `json:"key"`
	Keeping string `json:"keeping"`           // record, log or index
	TrieKey blob   `json:"trieKey,omitempty"` // of records
}

type receiptVectors struct {
	Comment  string          `json:"comment"`
	Receipts []receiptVector `json:"receipts"`
	Keys     []keyVector     `json:"keys"`
}

var keepings = map[ledger.Keeping]string{ledger.KeepRecord: "record", ledger.KeepLog: "log", ledger.KeepIndex: "index"}

func TestVectorsOfReceipts(t *testing.T) {
	v := receiptVectors{Comment: "Leaves of the log of receipts, and how rows are kept by their keys."}
	for _, tt := range []struct {
		name, code string
		events     []ledger.Event
		writes     []ledger.Write
	}{
		{"refused, without effects", "FORBIDDEN", nil, nil},
		{"an event and writes", "OK",
			[]ledger.Event{{Contract: "consent", Name: "consent", Payload: []byte(`{"status":"Authorised"}`)}},
			[]ledger.Write{
				{Key: "consent/ix/party/lender/c1", Value: []byte{1}},
				{Key: "consent/rec/c1", Value: []byte(`{"status":"Authorised"}`)},
				{Key: "consent/tmp/c1", Delete: true},
			}},
	} {
		r := ledger.Receipt{
			TxID: ledger.Sum([]byte(tt.name)), Height: 12, Index: 3, Code: tt.code,
			Events: ledger.HashEvents(tt.events), Writes: ledger.HashWrites(ledger.HashedWrites(tt.writes)),
		}
		rv := receiptVector{
			Name: tt.name, TxID: hashBlob(r.TxID), Height: 12, Index: 3, Code: r.Code,
			Events: []eventVector{}, EventsHash: hashBlob(r.Events), Writes: []writeVector{}, WritesHash: hashBlob(r.Writes),
			Encoded: r.Encode(), LeafHash: ledger.LogHasher{}.HashLeaf(r.Encode()),
		}
		for _, e := range tt.events {
			rv.Events = append(rv.Events, eventVector{e.Contract, e.Name, e.Payload})
		}
		for _, w := range tt.writes {
			rv.Writes = append(rv.Writes, writeVector{w.Key, w.Value, w.Delete})
		}
		v.Receipts = append(v.Receipts, rv)
	}
	for _, key := range []string{"consent/rec/c1", "consent/log", "consent/log/1", "consent/ix/a/b", "log/rec/1", "access/usage/0x01"} {
		kv := keyVector{Key: key, Keeping: keepings[ledger.KeepingOf(key)]}
		if kv.Keeping == "record" {
			kv.TrieKey = hashBlob(ledger.TrieKey(key))
		}
		v.Keys = append(v.Keys, kv)
	}
	checkVectors(t, "receipts", &v)
}

type logVector struct {
	Size   int      `json:"size"`
	Root   blob     `json:"root"`
	Proofs [][]blob `json:"proofs"` // by index
}

type logVectors struct {
	Comment string      `json:"comment"`
	Leaves  []blob      `json:"leaves"`
	Logs    []logVector `json:"logs"` // over the first leaves
}

func TestVectorsOfLogs(t *testing.T) {
	v := logVectors{Comment: "Merkle roots of the first leaves, and for every leaf the hashes that prove it, from the leaf upwards.", Leaves: blobs(logLeaves(9))}
	for n := range 10 {
		l := logVector{Size: n, Root: hashBlob(ledger.TxRoot(logLeaves(n))), Proofs: [][]blob{}}
		for i := range n {
			path := []blob{}
			for _, h := range logPath(i, logLeaves(n)) {
				path = append(path, hashBlob(h))
			}
			l.Proofs = append(l.Proofs, path)
		}
		v.Logs = append(v.Logs, l)
	}
	checkVectors(t, "logs", &v)
}

// noNodes is the database of a trie that is in memory as a whole.
type noNodes struct{}

func (noNodes) NodeReader(ledger.Hash) (database.NodeReader, error) { return noNodes{}, nil }

func (noNodes) Node(ledger.Hash, []byte, ledger.Hash) ([]byte, error) {
	return nil, errors.New("nothing is stored")
}

// records is a state in memory that proves its records.
type records struct {
	rows map[string][]byte
	trie *trie.Trie
	root ledger.Hash
}

func newRecords(t testing.TB, rows map[string][]byte) *records {
	t.Helper()
	s := &records{rows: rows, trie: trie.NewEmpty(noNodes{})}
	for key, value := range rows {
		k, leaf := ledger.TrieKey(key), ledger.Sum(value)
		if err := s.trie.Update(k[:], leaf[:]); err != nil {
			t.Fatal(err)
		}
	}
	s.root = s.trie.Hash()
	return s
}

// nodeList takes a proof in the order in which the trie gives it: from the root.
type nodeList [][]byte

func (l *nodeList) Put(_, value []byte) error { *l = append(*l, value); return nil }
func (l *nodeList) Delete([]byte) error       { return nil }

func (s *records) prove(t testing.TB, key string) *ledger.StateProof {
	t.Helper()
	value, ok := s.rows[key]
	p := &ledger.StateProof{Key: key, Present: ok, Value: value}
	if len(s.rows) == 0 {
		return p
	}
	k := ledger.TrieKey(key)
	if err := s.trie.Prove(k[:], (*nodeList)(&p.Nodes)); err != nil {
		t.Fatal(err)
	}
	return p
}

func manyRecords(n int) map[string][]byte {
	rows := map[string][]byte{}
	for i := range n {
		rows[fmt.Sprintf("consent/rec/c%d", i)] = fmt.Appendf(nil, `{"n":%d}`, i)
	}
	return rows
}

type rowVector struct {
	Key   string `json:"key"`
	Value blob   `json:"value"`
}

type stateVector struct {
	Name    string            `json:"name"`
	Records []rowVector       `json:"records"`
	Root    blob              `json:"root"`
	Proofs  []namedStateProof `json:"proofs"`
	Refused []namedBytes      `json:"refused"` // proofs that do not hold under root
}

type namedStateProof struct {
	Key     string `json:"key"`
	Present bool   `json:"present"`
	Value   blob   `json:"value"`
	Nodes   []blob `json:"nodes"`
	Encoded blob   `json:"encoded"`
}

type stateVectors struct {
	Comment string        `json:"comment"`
	States  []stateVector `json:"states"`
}

// badStateProofs change a proof of a present and of an absent record of s.
func badStateProofs(present, absent *ledger.StateProof) map[string]*ledger.StateProof {
	made := func(p *ledger.StateProof, f func(p *ledger.StateProof)) *ledger.StateProof {
		q := *p
		q.Nodes = append([][]byte(nil), p.Nodes...)
		f(&q)
		return &q
	}
	return map[string]*ledger.StateProof{
		"another value":                  made(present, func(p *ledger.StateProof) { p.Value = []byte("forged") }),
		"a present record said absent":   made(present, func(p *ledger.StateProof) { p.Present, p.Value = false, nil }),
		"an absent record said present":  made(absent, func(p *ledger.StateProof) { p.Present, p.Value = true, []byte("forged") }),
		"an absent record with a value":  made(absent, func(p *ledger.StateProof) { p.Value = []byte("forged") }),
		"a node missing":                 made(present, func(p *ledger.StateProof) { p.Nodes = p.Nodes[:len(p.Nodes)-1] }),
		"the root node missing":          made(present, func(p *ledger.StateProof) { p.Nodes = p.Nodes[1:] }),
		"no nodes":                       made(absent, func(p *ledger.StateProof) { p.Nodes = nil }),
		"a byte of a node changed":       made(present, func(p *ledger.StateProof) { p.Nodes[0] = flipped(p.Nodes[0]) }),
		"another key":                    made(present, func(p *ledger.StateProof) { p.Key += "x" }),
		"a row that the trie never held": made(absent, func(p *ledger.StateProof) { p.Key = "consent/log/1" }),
		"a key without contract":         made(absent, func(p *ledger.StateProof) { p.Key = "consent" }),
	}
}

func flipped(b []byte) []byte {
	c := append([]byte(nil), b...)
	c[len(c)/2] ^= 1
	return c
}

func TestVectorsOfStateProofs(t *testing.T) {
	v := stateVectors{Comment: "State roots and proofs of records, present and absent. Nodes go from the root down."}
	for _, tt := range []struct {
		name string
		rows map[string][]byte
		keys []string
	}{
		{"empty", nil, []string{"consent/rec/c0"}},
		{"one record", manyRecords(1), []string{"consent/rec/c0", "consent/rec/c1"}},
		{"twenty records", manyRecords(20), []string{"consent/rec/c3", "consent/rec/c19", "consent/rec/c20", "access/rec/c3"}},
	} {
		s := newRecords(t, tt.rows)
		sv := stateVector{Name: tt.name, Records: []rowVector{}, Root: hashBlob(s.root), Refused: []namedBytes{}}
		for _, key := range sortedKeys(tt.rows) {
			sv.Records = append(sv.Records, rowVector{key, tt.rows[key]})
		}
		for _, key := range tt.keys {
			p := s.prove(t, key)
			sv.Proofs = append(sv.Proofs, namedStateProof{key, p.Present, p.Value, blobs(p.Nodes), p.Encode()})
		}
		if len(tt.rows) > 1 {
			bad := badStateProofs(s.prove(t, tt.keys[0]), s.prove(t, tt.keys[2]))
			for _, name := range sortedKeys(bad) {
				sv.Refused = append(sv.Refused, namedBytes{name, bad[name].Encode()})
			}
		}
		v.States = append(v.States, sv)
	}
	checkVectors(t, "state", &v)
}

type lightStep struct {
	Name    string `json:"name"`
	Proof   blob   `json:"configProof,omitempty"`
	Header  blob   `json:"certifiedHeader,omitempty"`
	Refused bool   `json:"refused"`
}

type lightVectors struct {
	Comment       string      `json:"comment"`
	GenesisConfig blob        `json:"genesisConfig"`
	Steps         []lightStep `json:"steps"`
}

// lightChain changes validators twice.
func lightChain() *ledgertest.Chain {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(2)
	c.Reconfigure(func(c *ledger.Config) { c.Validators = c.Validators[:3] })
	c.Grow(2)
	c.Reconfigure(func(c *ledger.Config) {
		c.Validators = append(c.Validators[1:], ledgertest.Validator(5, ledgertest.MemberID(1)), ledgertest.Validator(6, ledgertest.MemberID(4)))
	})
	return c.Grow(2)
}

func certified(c *ledgertest.Chain, h int) *ledger.CertifiedHeader {
	return &ledger.CertifiedHeader{Header: c.Blocks[h].Header, Certificate: *c.Certs[h]}
}

func configProof(c *ledgertest.Chain, h int) *ledger.ConfigProof {
	return &ledger.ConfigProof{Header: *certified(c, h), Update: c.Blocks[h].Requests[0]}
}

// late is the header at h as the validators of the genesis config would sign it
// after their time.
func late(c *ledgertest.Chain, h int) *ledger.CertifiedHeader {
	header := c.Blocks[h].Header
	header.ConfigSeq, header.ValidatorsHash = 0, c.Genesis.ValidatorsHash()
	return &ledger.CertifiedHeader{Header: header, Certificate: *ledgertest.Certify(c.Genesis, &header)}
}

func TestVectorsOfTheLightClient(t *testing.T) {
	c := lightChain()
	v := lightVectors{
		Comment:       "A light client starts from genesisConfig and takes these steps in order; refused ones change nothing.",
		GenesisConfig: c.Genesis.Encode(),
		Steps: []lightStep{
			{Name: "header 2 under the genesis config", Header: certified(c, 2).Encode()},
			{Name: "header 5, two configs ahead of the client", Header: certified(c, 5).Encode(), Refused: true},
			{Name: "the second config block before the first", Proof: configProof(c, 6).Encode(), Refused: true},
			{Name: "the first config block", Proof: configProof(c, 3).Encode()},
			{Name: "the first config block again", Proof: configProof(c, 3).Encode(), Refused: true},
			{Name: "header 5 under the second config", Header: certified(c, 5).Encode()},
			{Name: "header 2, from the time of the first config", Header: certified(c, 2).Encode()},
			{Name: "header 3, the last of the first config's time", Header: certified(c, 3).Encode()},
			{Name: "header 7, as validators that left would vote it", Header: late(c, 7).Encode(), Refused: true},
			{Name: "the second config block", Proof: configProof(c, 6).Encode()},
			{Name: "header 8 under the third config", Header: certified(c, 8).Encode()},
			{Name: "header 4, from the time of the second config", Header: certified(c, 4).Encode()},
			{Name: "header 7 under the first config, whose time is over", Header: late(c, 7).Encode(), Refused: true},
		},
	}
	checkVectors(t, "light", &v)
}
