package snapshot_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/state"
)

// population is the state that creating and authorising so many consents leaves,
// made without executing anything: rows and receipts have the sizes of real
// ones, and of the bytes in them as many are random.
type population struct {
	ids    []string // ascending
	height ledger.Height
	roots  state.Roots
}

// perBlock is how many transactions the blocks of a population hold.
const perBlock = 100

func populate(t testing.TB, consents int) *population {
	t.Helper()
	p := &population{ids: make([]string, consents)}
	for i := range p.ids {
		var b [16]byte
		h := ledger.Sum(binary.BigEndian.AppendUint64(nil, uint64(i)))
		copy(b[:], h[:])
		p.ids[i] = "0x" + hex.EncodeToString(b[:])
	}
	slices.Sort(p.ids)
	p.height = ledger.Height(2*consents/perBlock) + 1
	type leaf struct{ key, value ledger.Hash }
	leaves := make([]leaf, consents)
	for i := range p.ids {
		leaves[i] = leaf{ledger.TrieKey("consent/rec/" + p.ids[i]), ledger.Sum(p.record(i, true))}
	}
	slices.SortFunc(leaves, func(a, b leaf) int { return bytes.Compare(a.key[:], b.key[:]) })
	tr := trie.NewStackTrie(nil)
	for _, l := range leaves {
		if err := tr.Update(l.key[:], l.value[:]); err != nil {
			t.Fatal(err)
		}
	}
	log := ledger.NewLog()
	for i := range p.ids {
		for _, authorised := range []bool{false, true} {
			r := p.leaf(i, authorised)
			if err := log.Append(ledger.LogHasher{}.HashLeaf(r.Encode()), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, err := ledger.LogRoot(log)
	if err != nil {
		t.Fatal(err)
	}
	p.roots = state.Roots{State: tr.Hash(), Receipts: root, ReceiptsSize: uint64(2 * consents)}
	return p
}

// record returns the value of a consent: text that is alike in all, and hashes,
// keys and signatures that are not.
func (p *population) record(i int, authorised bool) []byte {
	rnd := rand.New(rand.NewPCG(uint64(i), 1))
	random := func(n int) string {
		b := make([]byte, n/8*8)
		for j := 0; j < len(b); j += 8 {
			binary.LittleEndian.PutUint64(b[j:], rnd.Uint64())
		}
		return hex.EncodeToString(b)
	}
	status, evidence := "AwaitingAuthorisation", ""
	if authorised {
		status, evidence = "Authorised", `"evidence":"0x`+random(64)+`","endorsement":"0x`+random(64)+`",`
	}
	return fmt.Appendf(nil, `{"schemaVersion":1,"consentId":%q,"version":1,%s"principalRef":"0x%s","principalKey":"0x%s","recordCommitment":"0x%s",`+
		`"noticeHash":"0x%s","impactAssessmentHash":"0x%s","status":%q,%s}`, p.ids[i], evidence, random(32), random(24), random(32), random(32), random(32), status, ballast)
}

var ballast = `"parties":[{"partyId":"harbour-bank","role":"DATA_PROVIDER"},{"partyId":"quick-loan","role":"DATA_CONSUMER"}],` +
	strings.Repeat(`"processingMethods":["AutomatedDecision"],"purposes":["CreditChecking"],`, 7)

func (p *population) keys(i int, status string) []string {
	id := p.ids[i]
	return []string{
		fmt.Sprintf("consent/ix/party/harbour-bank/%s/0001795376073832/%s", status, id),
		fmt.Sprintf("consent/ix/party/quick-loan/%s/0001795376073832/%s", status, id),
		fmt.Sprintf("consent/ix/principal/%s/%s", id, id),
	}
}

var mark = ledger.Sum([]byte("1"))

// writes returns what creating or authorising a consent wrote, by key.
func (p *population) writes(i int, authorised bool) []ledger.WriteHash {
	h := ledger.Sum(p.record(i, authorised))
	rec := ledger.WriteHash{Key: "consent/rec/" + p.ids[i], Value: h[:]}
	awaiting, now := p.keys(i, "AwaitingAuthorisation"), p.keys(i, "Authorised")
	if !authorised {
		return []ledger.WriteHash{{Key: awaiting[0], Value: mark[:]}, {Key: awaiting[1], Value: mark[:]}, {Key: awaiting[2], Value: mark[:]}, rec}
	}
	return []ledger.WriteHash{{Key: now[0], Value: mark[:]}, {Key: awaiting[0]}, {Key: now[1], Value: mark[:]}, {Key: awaiting[1]}, rec}
}

func (p *population) leaf(i int, authorised bool) ledger.Receipt {
	position := uint64(2 * i)
	if authorised {
		position++
	}
	return ledger.Receipt{
		TxID: ledger.Sum(fmt.Appendf(nil, "transaction %d", position)), Height: ledger.Height(position/perBlock) + 1, Index: position % perBlock, Code: "OK",
		Events: ledger.HashEvents([]ledger.Event{{Contract: "consent", Name: "consent", Payload: p.record(i, authorised)}}),
		Writes: ledger.HashWrites(p.writes(i, authorised)),
	}
}

func (p *population) Height() ledger.Height { return p.height }
func (p *population) Time() uint64          { return timeOf(p.height) }
func (p *population) Roots() state.Roots    { return p.roots }

func timeOf(h ledger.Height) uint64 { return 1_800_000_000_000 + uint64(h)*40 }

func (p *population) Rows(yield func(key, value []byte) error) error {
	type row struct{ key, value []byte }
	for _, kind := range []int{0, 1, 2, 3} {
		for i := range p.ids {
			r := row{[]byte("consent/rec/" + p.ids[i]), nil}
			if kind < 3 {
				r = row{[]byte(p.keys(i, "Authorised")[kind]), []byte("1")}
			} else {
				r.value = p.record(i, true)
			}
			if err := yield(r.key, r.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// item is a receipt as SPEC.md has it.
type item struct {
	TxID   ledger.Hash
	Height ledger.Height
	Index  uint64
	Code   string
	Logs   [][]byte
	Writes []ledger.WriteHash
	Events []struct {
		Contract string
		Name     string
		Log      uint64
		Payload  []byte
	}
	EventsHash []byte
}

func (p *population) Receipts(yield func([]byte) error) error {
	for i := range p.ids {
		for _, authorised := range []bool{false, true} {
			l := p.leaf(i, authorised)
			x := item{TxID: l.TxID, Height: l.Height, Index: l.Index, Code: l.Code, Writes: p.writes(i, authorised)}
			x.Events = append(x.Events, struct {
				Contract string
				Name     string
				Log      uint64
				Payload  []byte
			}{"consent", "consent", 0, p.record(i, authorised)})
			b, err := rlp.EncodeToBytes(&x)
			if err != nil {
				return err
			}
			if err := yield(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// certify returns a header of height above that names the roots, with a
// certificate.
func certify(chain ledger.Hash, c *ledger.Config, above ledger.Height, at ledger.Height, roots state.Roots) *ledger.CertifiedHeader {
	h := ledger.Header{
		Domain: "", ChainID: chain, Height: above, Time: timeOf(above), ValidatorsHash: c.ValidatorsHash(), NextValidatorsHash: c.ValidatorsHash(),
		ExecHeight: at, StateRoot: roots.State, ReceiptsRoot: roots.Receipts, ReceiptsSize: roots.ReceiptsSize,
	}
	b := ledger.Genesis(c)
	h.Domain = b.Header.Domain
	return &ledger.CertifiedHeader{Header: h, Certificate: *ledgertest.Certify(c, &h)}
}
