package ledger_test

// These tests read the published vectors and derive every value in them again:
// once from SPEC.md with the twins, once with this package.

import (
	"bytes"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/ethereum/go-ethereum/crypto"
)

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s is %x, the vector says %x", what, got, want)
	}
}

func bytesOf(b []blob) [][]byte {
	out := make([][]byte, len(b))
	for i := range b {
		out[i] = b[i]
	}
	return out
}

func listOf(b []blob) []any {
	out := make([]any, len(b))
	for i := range b {
		out[i] = []byte(b[i])
	}
	return out
}

func TestSpecOfTransactions(t *testing.T) {
	v := loadVectors[transactionVectors](t, "transactions")
	key, err := crypto.ToECDSA(v.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain := ledger.Hash(v.ChainID)
	for _, tv := range v.Valid {
		p := tv.Payload
		payload := []any{
			"assent/transaction/1", []byte(p.ChainID), p.Org, []byte(p.Key), p.Contract, p.Function,
			listOf(p.Args), []byte(p.Nonce), p.NotBefore, p.ValidUntil,
		}
		id := twinHash(twinRLP(payload))
		same(t, tv.Name+": id", id, tv.ID)
		sig, err := crypto.Sign(id, key)
		if err != nil {
			t.Fatal(err)
		}
		same(t, tv.Name+": signature", sig, tv.Signature)
		same(t, tv.Name+": signed bytes", twinRLP([]any{payload, sig}), tv.Signed)

		tx, err := ledger.DecodeTransaction(tv.Signed)
		if err != nil {
			t.Fatalf("%s: %v", tv.Name, err)
		}
		if err := tx.Verify(chain); err != nil {
			t.Errorf("%s: %v", tv.Name, err)
		}
		if got := tx.ID(); !bytes.Equal(got[:], tv.ID) || ledger.KindOf(tv.Signed) != ledger.KindTransaction {
			t.Errorf("%s: decoded id %s of kind %s", tv.Name, got, ledger.KindOf(tv.Signed))
		}
		if got, err := ledger.RequestID(tv.Signed); err != nil || got != tx.ID() {
			t.Errorf("%s: request id %s, %v", tv.Name, got, err)
		}
	}
	for _, tv := range v.Refused {
		tx, err := ledger.DecodeTransaction(tv.Signed)
		if (err != nil) != (tv.Refused == "decode") {
			t.Errorf("%s: decoding gave %v", tv.Name, err)
		}
		if err == nil && tx.Verify(chain) == nil {
			t.Errorf("%s: accepted", tv.Name)
		}
	}
}

// configList is a config as SPEC.md lays it out.
func configList(c *ledger.Config) []any {
	members, validators := []any{}, []any{}
	for _, m := range c.Members {
		roles, admins := []any{}, []any{}
		for _, r := range m.Roles {
			roles = append(roles, r)
		}
		for _, a := range m.Admins {
			admins = append(admins, a)
		}
		members = append(members, []any{m.ID, m.Name, roles, admins})
	}
	for _, v := range c.Validators {
		addrs := []any{}
		for _, a := range v.Addrs {
			addrs = append(addrs, a)
		}
		validators = append(validators, []any{v.ID, v.Member, v.VoteKey, v.HostKey[:], addrs})
	}
	l := c.Limits
	limits := []any{l.MaxRequestBytes, l.MaxBlockBytes, l.MaxBlockRequests, l.ClockToleranceMs, l.MaxExecLag, l.ObserversPerMember}
	if l.RecordMillis > 0 {
		limits = append(limits, l.RecordMillis)
	}
	return []any{
		"assent/config/1", c.Network, c.Seq, c.Protocol, c.GenesisTime, members, validators,
		limits,
	}
}

func TestSpecOfConfigs(t *testing.T) {
	v := loadVectors[configVectors](t, "config")
	enc := twinRLP(configList(v.Config))
	same(t, "config", enc, v.Encoded)
	same(t, "chain id", twinHash(enc), v.ChainID)
	entries := []any{}
	for _, val := range v.Config.Validators {
		entries = append(entries, []any{val.ID, val.VoteKey})
	}
	same(t, "validators hash", twinHash(twinRLP([]any{"assent/validators/1", entries})), v.ValidatorsHash)
	c, err := ledger.DecodeConfig(v.Encoded)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "decoded and encoded config", c.Encode(), v.Encoded)
	if got := ledger.Genesis(c).Header.ChainID; !bytes.Equal(got[:], v.ChainID) {
		t.Errorf("genesis names chain %s", got)
	}
	for _, bad := range v.Refused {
		if _, err := ledger.DecodeConfig(bad.Encoded); err == nil {
			t.Errorf("%s: accepted", bad.Name)
		}
	}
}

func TestSpecOfUpdates(t *testing.T) {
	v := loadVectors[updateVectors](t, "update")
	current, err := ledger.DecodeConfig(v.Current)
	if err != nil {
		t.Fatal(err)
	}
	body := []any{"assent/config-update/1", []byte(v.ChainID), uint64(1), []byte(v.Config)}
	same(t, "update id", twinHash(twinRLP(body)), v.ID)
	digest := twinHash(twinRLP([]any{"assent/config-approval/1", []byte(v.ChainID), uint64(1), twinHash(v.Config)}))
	same(t, "approval digest", digest, v.ApprovalDigest)
	for _, good := range v.Accepted {
		u, err := ledger.DecodeUpdate(good.Encoded)
		if err != nil {
			t.Fatalf("%s: %v", good.Name, err)
		}
		if err := u.Verify(ledger.Hash(v.ChainID), current); err != nil {
			t.Errorf("%s: %v", good.Name, err)
		}
		approvals := []any{}
		for _, a := range u.Approvals {
			approvals = append(approvals, []any{a.Member, a.Admin, a.Sig})
		}
		same(t, good.Name, twinRLP([]any{body, approvals}), good.Encoded)
		if id, err := ledger.RequestID(good.Encoded); err != nil || !bytes.Equal(id[:], v.ID) || ledger.KindOf(good.Encoded) != ledger.KindUpdate {
			t.Errorf("%s: request id %s of kind %s, %v", good.Name, id, ledger.KindOf(good.Encoded), err)
		}
	}
	for _, bad := range v.Refused {
		if u, err := ledger.DecodeUpdate(bad.Encoded); err == nil && u.Verify(ledger.Hash(v.ChainID), current) == nil {
			t.Errorf("%s: accepted", bad.Name)
		}
	}
}

func headerList(h headerVector) []any {
	return []any{
		"assent/header/1", []byte(h.ChainID), h.Height, []byte(h.Prev), []byte(h.TxRoot), h.Time, h.ConfigSeq,
		[]byte(h.ValidatorsHash), []byte(h.NextValidatorsHash), []byte(h.EngineMetaHash), h.ExecHeight,
		[]byte(h.StateRoot), []byte(h.ReceiptsRoot), h.ReceiptsSize,
	}
}

func TestSpecOfBlocks(t *testing.T) {
	v := loadVectors[blockVectors](t, "blocks")
	config, err := ledger.DecodeConfig(v.GenesisConfig)
	if err != nil {
		t.Fatal(err)
	}
	genesis := config
	var parent *ledger.Block
	for _, bv := range v.Blocks {
		header := headerList(bv.Header)
		hash := twinHash(twinRLP(header))
		same(t, bv.Name+": header", twinRLP(header), bv.Encoded)
		same(t, bv.Name+": hash", hash, bv.Hash)
		same(t, bv.Name+": tx root", twinLogRoot(bytesOf(bv.Requests)), bv.Header.TxRoot)
		same(t, bv.Name+": meta hash", twinHash(twinRLP([]any{"assent/engine-meta/1", []byte(bv.Meta)})), bv.Header.EngineMetaHash)
		same(t, bv.Name+": block", twinRLP([]any{header, listOf(bv.Requests), []byte(bv.Meta)}), bv.Block)
		b, err := ledger.DecodeBlock(bv.Block)
		if err != nil {
			t.Fatalf("%s: %v", bv.Name, err)
		}
		if got := b.Header.Hash(); !bytes.Equal(got[:], bv.Hash) {
			t.Errorf("%s: decoded hash %s", bv.Name, got)
		}
		if parent == nil {
			if b.Header != ledger.Genesis(genesis).Header {
				t.Errorf("%s differs from the genesis of its config", bv.Name)
			}
			same(t, "state root of genesis", twinTrieRoot(nil), bv.Header.StateRoot)
			same(t, "receipts root of genesis", twinLogRoot(nil), bv.Header.ReceiptsRoot)
			parent = b
			continue
		}
		same(t, bv.Name+": vote digest", twinHash(twinRLP([]any{"assent/vote/2", hash, bv.View})), bv.VoteDigest)
		config = checkSpecBlock(t, bv, parent, b, config)
		parent = b
	}
	one, err := ledger.DecodeHeader(v.Blocks[1].Encoded)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range v.RefusedCertificates {
		if cert, err := ledger.DecodeCertificate(bad.Encoded); err == nil && genesis.VerifyCertificate(one, cert) == nil {
			t.Errorf("%s: accepted", bad.Name)
		}
	}
	checkSpecSigned(t, &v, genesis)
}

// checkSpecBlock checks a block and its certificate above parent under config
// and returns the config after it.
func checkSpecBlock(t *testing.T, bv blockVector, parent, b *ledger.Block, config *ledger.Config) *ledger.Config {
	t.Helper()
	cert, err := ledger.DecodeCertificate(bv.Certificate)
	if err != nil {
		t.Fatalf("%s: %v", bv.Name, err)
	}
	votes := []any{}
	for _, vote := range cert.Votes {
		votes = append(votes, []any{vote.Validator, vote.Sig})
		pub, err := crypto.SigToPub(bv.VoteDigest, vote.Sig[:])
		if err != nil || crypto.PubkeyToAddress(*pub) != config.Validator(vote.Validator).VoteKey {
			t.Errorf("%s: vote of %d: %v", bv.Name, vote.Validator, err)
		}
	}
	same(t, bv.Name+": certificate", twinRLP([]any{[]byte(bv.Hash), bv.View, votes}), bv.Certificate)
	if err := b.Header.Follows(&parent.Header, config); err != nil {
		t.Errorf("%s: %v", bv.Name, err)
	}
	if err := config.VerifyCertificate(&b.Header, cert); err != nil {
		t.Errorf("%s: %v", bv.Name, err)
	}
	next, err := b.CheckContent(config)
	if err != nil {
		t.Fatalf("%s: %v", bv.Name, err)
	}
	return next
}

// checkSpecSigned checks seal, status and engine message.
func checkSpecSigned(t *testing.T, v *blockVectors, genesis *ledger.Config) {
	t.Helper()
	chain := genesis.Hash()
	seal, err := ledger.DecodeSeal(v.Seal.Encoded)
	if err != nil {
		t.Fatal(err)
	}
	body := []any{"assent/seal/1", chain, v.Seal.Height}
	same(t, "seal id", twinHash(twinRLP(body)), v.Seal.ID)
	same(t, "seal", twinRLP([]any{body, []byte(v.Seal.Validator), seal.Sig}), v.Seal.Encoded)
	if err := seal.Verify(chain, genesis); err != nil {
		t.Error(err)
	}
	status, err := ledger.DecodeStatus(v.Status.Encoded)
	if err != nil {
		t.Fatal(err)
	}
	body = []any{"assent/status/1", chain, []byte(v.Status.Nonce), v.Status.Height, []byte(v.Status.Header), v.Status.Voted, []byte(v.Status.Key)}
	same(t, "status digest", twinHash(twinRLP(body)), v.Status.Digest)
	same(t, "status", twinRLP([]any{body, status.Sig}), v.Status.Encoded)
	if err := status.Verify(chain, ledger.Hash(v.Status.Nonce), genesis, 3); err != nil {
		t.Error(err)
	}
	same(t, "engine digest", twinHash(twinRLP([]any{"assent/engine-message/1", chain, []byte(v.EngineMessage.Message)})), v.EngineMessage.Digest)
}

func TestSpecOfReceipts(t *testing.T) {
	v := loadVectors[receiptVectors](t, "receipts")
	for _, rv := range v.Receipts {
		events, writes := []any{}, []any{}
		for _, e := range rv.Events {
			events = append(events, []any{e.Contract, e.Name, []byte(e.Payload)})
		}
		for _, w := range rv.Writes {
			value := []byte{}
			if !w.Delete {
				value = twinHash(w.Value)
			}
			writes = append(writes, []any{w.Key, value})
		}
		same(t, rv.Name+": events", twinHash(twinRLP([]any{"assent/events/1", events})), rv.EventsHash)
		same(t, rv.Name+": writes", twinHash(twinRLP([]any{"assent/writes/1", writes})), rv.WritesHash)
		leaf := twinRLP([]any{"assent/receipt/1", []byte(rv.TxID), rv.Height, rv.Index, rv.Code, []byte(rv.EventsHash), []byte(rv.WritesHash)})
		same(t, rv.Name+": receipt", leaf, rv.Encoded)
		same(t, rv.Name+": leaf", twinHash([]byte{0}, leaf), rv.LeafHash)
		r, err := ledger.DecodeReceipt(rv.Encoded)
		if err != nil {
			t.Fatalf("%s: %v", rv.Name, err)
		}
		same(t, rv.Name+": decoded and encoded", r.Encode(), rv.Encoded)
	}
	for _, kv := range v.Keys {
		contract, rest, err := ledger.SplitKey(kv.Key)
		if err != nil {
			t.Fatal(err)
		}
		keeping := "record"
		if strings.HasPrefix(rest, "log/") {
			keeping = "log"
		} else if strings.HasPrefix(rest, "ix/") {
			keeping = "index"
		}
		if kv.Keeping != keeping || keepings[ledger.KeepingOf(kv.Key)] != keeping {
			t.Errorf("%s is kept as %s", kv.Key, kv.Keeping)
		}
		if keeping == "record" {
			same(t, kv.Key, twinHash([]byte(contract), []byte{0}, []byte(rest)), kv.TrieKey)
		}
	}
}

func TestSpecOfLogs(t *testing.T) {
	v := loadVectors[logVectors](t, "logs")
	for _, l := range v.Logs {
		leaves := bytesOf(v.Leaves[:l.Size])
		same(t, "root", twinLogRoot(leaves), l.Root)
		if len(l.Proofs) != l.Size {
			t.Errorf("%d proofs of %d leaves", len(l.Proofs), l.Size)
		}
		for i, path := range l.Proofs {
			p := ledger.LogProof{Index: uint64(i), Size: uint64(l.Size)}
			for _, h := range path {
				p.Hashes = append(p.Hashes, ledger.Hash(h))
			}
			if err := p.Verify(ledger.Hash(l.Root), leaves[i]); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestSpecOfStateProofs(t *testing.T) {
	v := loadVectors[stateVectors](t, "state")
	for _, sv := range v.States {
		rows := map[ledger.Hash][]byte{}
		for _, r := range sv.Records {
			contract, rest, _ := strings.Cut(r.Key, "/")
			rows[ledger.Hash(twinHash([]byte(contract), []byte{0}, []byte(rest)))] = twinHash(r.Value)
		}
		same(t, sv.Name+": root", twinTrieRoot(rows), sv.Root)
		root := ledger.Hash(sv.Root)
		for _, pv := range sv.Proofs {
			present := []byte{}
			if pv.Present {
				present = []byte{1}
			}
			same(t, pv.Key, twinRLP([]any{pv.Key, present, []byte(pv.Value), listOf(pv.Nodes)}), pv.Encoded)
			p, err := ledger.DecodeStateProof(pv.Encoded)
			if err != nil {
				t.Fatalf("%s: %v", pv.Key, err)
			}
			if err := p.Verify(root); err != nil {
				t.Errorf("%s: %v", sv.Name, err)
			}
		}
		for _, bad := range sv.Refused {
			if p, err := ledger.DecodeStateProof(bad.Encoded); err == nil && p.Verify(root) == nil {
				t.Errorf("%s: accepted", bad.Name)
			}
		}
	}
}

func TestSpecOfTheLightClient(t *testing.T) {
	v := loadVectors[lightVectors](t, "light")
	genesis, err := ledger.DecodeConfig(v.GenesisConfig)
	if err != nil {
		t.Fatal(err)
	}
	light, err := ledger.NewLightClient(genesis)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range v.Steps {
		seq := light.Config().Seq
		if step.Header != nil {
			h, derr := ledger.DecodeCertifiedHeader(step.Header)
			if derr != nil {
				t.Fatalf("%s: %v", step.Name, derr)
			}
			err = light.Verify(h)
		} else {
			p, derr := ledger.DecodeConfigProof(step.Proof)
			if derr != nil {
				t.Fatalf("%s: %v", step.Name, derr)
			}
			err = light.Advance(p)
		}
		if (err != nil) != step.Refused {
			t.Errorf("%s: %v", step.Name, err)
		}
		if step.Refused && light.Config().Seq != seq {
			t.Errorf("%s: the client moved to config %d", step.Name, light.Config().Seq)
		}
	}
	if light.Config().Seq != 2 || light.ChainID() != ledgertest.Config(4).Hash() {
		t.Errorf("the client ended at config %d of %s", light.Config().Seq, light.ChainID())
	}
}
