package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/vectors; read the diff")

// vector is one published example. Everything a re-implementation needs is in
// it: the input bytes or the typed data a wallet takes, and the result.
type vector struct {
	Name      string              `json:"name"`
	Domain    string              `json:"domain,omitempty"`
	Salt      string              `json:"salt,omitempty"`
	Head      string              `json:"head,omitempty"`
	JSON      string              `json:"json,omitempty"`
	TypedData *apitypes.TypedData `json:"typedData,omitempty"`
	Key       string              `json:"privateKey,omitempty"`
	Signer    string              `json:"signer,omitempty"`
	Signature string              `json:"signature,omitempty"`
	Digest    string              `json:"digest"`
}

func checkVectors(t *testing.T, file string, got []vector) {
	t.Helper()
	path := filepath.Join("testdata", "vectors", file)
	data, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, data) {
		t.Errorf("%s: published vectors changed:\n%s", path, data)
	}
}

func mustEncode(t *testing.T, r Record) string {
	t.Helper()
	data, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPublishedRecords(t *testing.T) {
	var out []vector
	for _, f := range fixtures() {
		data := mustEncode(t, f.full)
		out = append(out, vector{Name: f.name, JSON: data, Digest: crypto.Keccak256Hash([]byte(data)).Hex()})
	}
	checkVectors(t, "records.json", out)
}

func TestPublishedCommitments(t *testing.T) {
	var out []vector
	add := func(name, domain string, salt, head Hash, body string, digest Hash, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		// The slow way, from the words of SPEC.md.
		input := []byte(domain)
		v := vector{Name: name, Domain: domain, JSON: body, Digest: digest.Hex()}
		switch {
		case salt != Hash{}:
			v.Salt = salt.Hex()
			input = append(append(input, salt[:]...), body...)
		case name == "usage head":
			v.Head = head.Hex()
			input = append(append(input, head[:]...), crypto.Keccak256([]byte(body))...)
		default:
			input = append(input, body...)
		}
		if want := crypto.Keccak256Hash(input); want != digest {
			t.Errorf("%s: got %s, want %s", name, digest, want)
		}
		out = append(out, v)
	}
	sealed := sampleSealed()
	digest, err := sealed.Commitment()
	body := *sealed
	body.Salt = Hash{}
	add("record commitment", DomainSealedPart, sealed.Salt, Hash{}, mustEncode(t, &body), digest, err)

	answer := sampleAnswer()
	digest, err = answer.Commitment()
	plain := *answer
	plain.Salt = Hash{}
	add("result commitment", DomainAnswer, answer.Salt, Hash{}, mustEncode(t, &plain), digest, err)

	digest, err = answer.OpeningHash()
	add("answer opening", DomainOpening, Hash{}, Hash{}, mustEncode(t, answer), digest, err)

	spec := sampleTemplate().TemplateSpec
	digest, err = spec.CodeHash()
	add("code hash", DomainCode, Hash{}, Hash{}, mustEncode(t, &spec), digest, err)

	notice := &NoticeSpec{Language: "en", NoticeID: "income", Text: awkward, Title: "Income"}
	digest, err = notice.Hash()
	add("notice hash", DomainNotice, Hash{}, Hash{}, mustEncode(t, notice), digest, err)

	request := mustEncode(t, sampleRequest())
	first := NextHead(Hash{}, []byte(request))
	add("usage head", DomainUsage, Hash{}, Hash{}, request, first, nil)
	add("usage head", DomainUsage, Hash{}, first, request, NextHead(first, []byte(request)), nil)
	out = append(out, batchVectors(t)...)
	out = append(out, claimVector(t), hostProofVector(t))
	checkVectors(t, "commitments.json", out)
}

// batchVectors name items of a batch: the first, one in two bytes, the last.
func batchVectors(t *testing.T) []vector {
	var out []vector
	batch := sampleHash(9)
	for _, i := range []int{0, 258, MaxBatch - 1} {
		id := BatchRequestID(batch, i)
		slow := crypto.Keccak256Hash([]byte("assent/batch-item/1"), batch[:], []byte{0, 0, byte(i >> 8), byte(i)})
		if id != NewRequestID(slow) {
			t.Errorf("item %d: got %s, want %s", i, id, slow)
		}
		out = append(out, vector{Name: "request id of batch item " + strconv.Itoa(i), Domain: DomainBatchItem, Head: batch.Hex(), Digest: string(id)})
	}
	return out
}

// claimVector commits to a claim: the dispute's id stands under head, the text
// under json.
func claimVector(t *testing.T) vector {
	id, salt, text := DisputeID("0x00112233445566778899aabbccddeeff"), sampleHash(11), "The limit of May is wrong: 限额"
	if err := id.Check(); err != nil {
		t.Fatal(err)
	}
	slow := crypto.Keccak256Hash([]byte("assent/claim/1" + string(id) + string(salt[:]) + text))
	if got := ClaimCommitment(id, salt, text); got != slow {
		t.Errorf("claim: got %s, want %s", got, slow)
	}
	return vector{Name: "claim commitment", Domain: DomainClaim, Salt: salt.Hex(), Head: string(id), JSON: text, Digest: slow.Hex()}
}

// hostProofVector signs for a host key: the member stands under head, the key under
// salt, the end of the proof under json.
func hostProofVector(t *testing.T) vector {
	chain, org, until := sampleHash(1), OrgID("bank-a"), Millis(1_772_323_200_000)
	secret, err := crypto.ToECDSA(crypto.Keccak256([]byte("a host key")))
	if err != nil {
		t.Fatal(err)
	}
	host := Blob(crypto.CompressPubkey(&secret.PublicKey))
	digest := HostProofDigest(chain, org, host, until)
	// The list by hand: a tag of 19 bytes, 32 of the chain, the name, 33 of the key, 6 of the time.
	body := slices.Concat([]byte{0x80 + 19}, []byte("assent/host-proof/1"), []byte{0x80 + 32}, chain[:], []byte{0x80 + 6}, []byte("bank-a"),
		[]byte{0x80 + 33}, host, []byte{0x80 + 6, 0x01, 0x9c, 0xa6, 0xb1, 0xdc, 0x00})
	if slow := crypto.Keccak256Hash([]byte{0xf8, byte(len(body))}, body); slow != digest {
		t.Errorf("host proof: got %s, want %s", digest, slow)
	}
	sig, err := crypto.Sign(digest[:], secret)
	if err != nil {
		t.Fatal(err)
	}
	proof := HostProof{Signature: sig, ValidUntil: until}
	for name, x := range map[string]struct {
		chain Hash
		org   OrgID
		now   Millis
		ok    bool
	}{
		"good":            {chain, org, until, true},
		"at its earliest": {chain, org, until - MaxHostProof, true},
		"another network": {sampleHash(2), org, until, false},
		"another member":  {chain, "bank-b", until, false},
		"ended":           {chain, org, until + 1, false},
		"too far ahead":   {chain, org, until - MaxHostProof - 1, false},
	} {
		if err := proof.Check(x.chain, x.org, host, x.now); (err == nil) != x.ok {
			t.Errorf("host proof, %s: %v", name, err)
		}
	}
	if err := proof.Check(chain, org, append(Blob{2}, make([]byte, 32)...), until); err == nil {
		t.Error("a host key that is none proves something")
	}
	return vector{Name: "host proof, chain " + chain.Hex(), Domain: DomainHostProof, Salt: fmt.Sprintf("0x%x", []byte(host)), Head: string(org), JSON: fmt.Sprint(until), Digest: digest.Hex()}
}

func TestCommitmentsNeedASalt(t *testing.T) {
	sealed, answer := sampleSealed(), sampleAnswer()
	sealed.Salt, answer.Salt = Hash{}, Hash{}
	if _, err := sealed.Commitment(); err == nil {
		t.Error("a sealed part without salt has a commitment: it could be guessed")
	}
	if _, err := answer.Commitment(); err == nil {
		t.Error("an answer without salt has a commitment: it could be guessed")
	}
	if _, err := answer.OpeningHash(); err == nil {
		t.Error("an answer without salt has an opening hash: it could be guessed")
	}
}

func TestDomainsArePrefixFree(t *testing.T) {
	tags := []string{DomainSealedPart, DomainAnswer, DomainCode, DomainNotice, DomainUsage, DomainBatchItem, DomainOpening, DomainClaim, DomainConfig, DomainApproval, DomainHostProof}
	for i, a := range tags {
		for j, b := range tags {
			if i != j && strings.HasPrefix(a, b) {
				t.Errorf("%s begins with %s", a, b)
			}
		}
	}
}

var testChain = sampleHash(42)

// typedDataDigests has each thing a subject signs, with its digest.
func typedDataDigests(t *testing.T) []vector {
	terms := sampleTerms()
	endorsement, revocation := EndorsementOf(terms), RevocationOf(terms, ReasonWithdrawn)
	erasure, dispute := ErasureOf(terms), DisputeOf(terms, sampleDisputeSpec())
	one := *terms // a second authorisation: empty lists, absent fields
	one.Supersedes, one.Version, one.ImpactAssessmentHash, one.DeclinedPurposes = "", 1, Hash{}, nil
	var out []vector
	for _, s := range []struct {
		name   string
		data   apitypes.TypedData
		digest func(Hash) (Hash, error)
	}{
		{"KeyEndorsement", endorsement.TypedData(testChain), endorsement.Digest},
		{"ConsentAuthorisation", terms.TypedData(testChain), terms.Digest},
		{"ConsentAuthorisation, first version", one.TypedData(testChain), one.Digest},
		{"ConsentRevocation", revocation.TypedData(testChain), revocation.Digest},
		{"ErasureRequest", erasure.TypedData(testChain), erasure.Digest},
		{"DataDispute", dispute.TypedData(testChain), dispute.Digest},
	} {
		digest, err := s.digest(testChain)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, vector{Name: s.name, TypedData: &s.data, Digest: digest.Hex()})
	}
	return out
}

func TestPublishedTypedData(t *testing.T) {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("published test key: never use it")))
	if err != nil {
		t.Fatal(err)
	}
	out := typedDataDigests(t)
	for i := range out {
		v := &out[i]
		digest, err := ParseHash(v.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if want := slowDigest(t, v.TypedData); want != digest {
			t.Errorf("%s: got %s, by the words of EIP-712 %s", v.Name, digest, want)
		}
		sig, err := crypto.Sign(digest[:], key)
		if err != nil {
			t.Fatal(err)
		}
		v.Key, v.Signer = "0x"+hex.EncodeToString(crypto.FromECDSA(key)), FormatAddress(crypto.PubkeyToAddress(key.PublicKey))
		sig[64] += 27 // as a wallet writes it
		v.Signature = "0x" + hex.EncodeToString(sig)
		if err := Verify(digest, sig, crypto.PubkeyToAddress(key.PublicKey)); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		// What a wallet gets is JSON: it must hash to the same.
		var wire apitypes.TypedData
		text, err := json.Marshal(v.TypedData)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &wire); err != nil {
			t.Fatal(err)
		}
		if sum, _, err := apitypes.TypedDataAndHash(wire); err != nil || Hash(sum) != digest {
			t.Errorf("%s: its JSON hashes to %x, %v", v.Name, sum, err)
		}
	}
	checkVectors(t, "typed-data.json", out)
}

// slowDigest is EIP-712 from its text: types by name order after the primary
// one, 32-byte words, arrays and strings hashed.
func slowDigest(t *testing.T, d *apitypes.TypedData) Hash {
	domain := map[string]any{"name": d.Domain.Name, "version": d.Domain.Version, "salt": d.Domain.Salt}
	separator := slowStruct(t, d.Types, "EIP712Domain", domain)
	message := slowStruct(t, d.Types, d.PrimaryType, d.Message)
	return crypto.Keccak256Hash([]byte("\x19\x01"), separator, message)
}

func slowType(types apitypes.Types, name string) string {
	var fields []string
	for _, f := range types[name] {
		fields = append(fields, f.Type+" "+f.Name)
	}
	return name + "(" + strings.Join(fields, ",") + ")"
}

func slowStruct(t *testing.T, types apitypes.Types, name string, v map[string]any) []byte {
	encoded := slowType(types, name)
	if name == "ConsentAuthorisation" {
		encoded += slowType(types, "AccessLimits") + slowType(types, "Party")
	}
	words := [][]byte{crypto.Keccak256([]byte(encoded))}
	for _, f := range types[name] {
		words = append(words, slowWord(t, types, f.Type, v[f.Name]))
	}
	return crypto.Keccak256(words...)
}

func slowWord(t *testing.T, types apitypes.Types, kind string, v any) []byte {
	if element, array := strings.CutSuffix(kind, "[]"); array {
		var words []byte
		for _, item := range v.([]any) {
			words = append(words, slowWord(t, types, element, item)...)
		}
		return crypto.Keccak256(words)
	}
	word := make([]byte, 32)
	switch kind {
	case "string":
		return crypto.Keccak256([]byte(v.(string)))
	case "bool":
		if v.(bool) {
			word[31] = 1
		}
	case "uint64":
		text, err := reflect.ValueOf(v).Interface().(interface{ MarshalText() ([]byte, error) }).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		n, ok := new(big.Int).SetString(string(text), 0)
		if !ok {
			t.Fatalf("%s is no number", text)
		}
		n.FillBytes(word)
	case "address", "bytes32":
		b, err := hex.DecodeString(v.(string)[2:])
		if err != nil {
			t.Fatal(err)
		}
		copy(word[32-len(b):], b)
	default:
		return slowStruct(t, types, kind, v.(map[string]any))
	}
	return word
}

// TestAuthorisationCoversEveryTerm changes each field of the terms in turn: a
// field the subject does not sign could be changed after it agreed.
func TestAuthorisationCoversEveryTerm(t *testing.T) {
	before, err := sampleTerms().Digest(testChain)
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	for change := 0; ; change++ {
		terms := sampleTerms()
		n := change
		path, done := mutate(reflect.ValueOf(terms).Elem(), "terms", &n)
		if !done {
			break
		}
		changes++
		after, err := terms.Digest(testChain)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if after == before {
			t.Errorf("%s is not covered", path)
		}
	}
	if changes < 30 {
		t.Errorf("only %d changes tried", changes)
	}
	if other, err := sampleTerms().Digest(sampleHash(43)); err != nil || other == before {
		t.Errorf("another chain gives the same digest, %v", err)
	}
}

// mutate changes the n-th leaf of v, counting down.
func mutate(v reflect.Value, path string, n *int) (string, bool) {
	take := func() bool { *n--; return *n < 0 }
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if p, done := mutate(v.Field(i), path+"."+v.Type().Field(i).Name, n); done {
				return p, true
			}
		}
	case reflect.Slice:
		if take() {
			v.Set(v.Slice(0, v.Len()-1))
			return path + " shortened", true
		}
		for i := range v.Len() {
			if p, done := mutate(v.Index(i), path+"[]", n); done {
				return p, true
			}
		}
	case reflect.Array:
		if take() {
			v.Index(0).SetUint(v.Index(0).Uint() ^ 1)
			return path, true
		}
	case reflect.String:
		if take() {
			v.SetString(v.String() + "x")
			return path, true
		}
	case reflect.Bool:
		if take() {
			v.SetBool(!v.Bool())
			return path, true
		}
	case reflect.Int64:
		if take() {
			v.SetInt(v.Int() + 1)
			return path, true
		}
	case reflect.Uint64:
		if take() {
			v.SetUint(v.Uint() + 1)
			return path, true
		}
	}
	return path, false
}

func TestOtherTypedDataCoverEveryField(t *testing.T) {
	terms := sampleTerms()
	type signed interface{ Digest(Hash) (Hash, error) }
	for name, make := range map[string]func() (reflect.Value, func() signed){
		"KeyEndorsement": func() (reflect.Value, func() signed) {
			v := EndorsementOf(terms)
			return reflect.ValueOf(&v).Elem(), func() signed { return v }
		},
		"ConsentRevocation": func() (reflect.Value, func() signed) {
			v := RevocationOf(terms, ReasonWithdrawn)
			return reflect.ValueOf(&v).Elem(), func() signed { return v }
		},
		"ErasureRequest": func() (reflect.Value, func() signed) {
			v := ErasureOf(terms)
			return reflect.ValueOf(&v).Elem(), func() signed { return v }
		},
		"DataDispute": func() (reflect.Value, func() signed) {
			v := DisputeOf(terms, sampleDisputeSpec())
			return reflect.ValueOf(&v).Elem(), func() signed { return v }
		},
	} {
		_, base := make()
		before, err := base().Digest(testChain)
		if err != nil {
			t.Fatal(err)
		}
		for change := 0; ; change++ {
			v, get := make()
			n := change
			path, done := mutate(v, name, &n)
			if !done {
				if change != v.NumField() {
					t.Errorf("%s: %d of %d fields tried", name, change, v.NumField())
				}
				break
			}
			after, err := get().Digest(testChain)
			if err != nil || after == before {
				t.Errorf("%s is not covered, %v", path, err)
			}
		}
	}
}

func TestVerifyTakesOneFormOfASignature(t *testing.T) {
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	signer := crypto.PubkeyToAddress(key.PublicKey)
	digest := sampleHash(1)
	good, err := crypto.Sign(digest[:], key)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(sig []byte) []byte) []byte { return change(bytes.Clone(good)) }
	order := crypto.S256().Params().N
	for _, c := range []struct {
		name string
		sig  []byte
		key  Address
		want error
	}{
		{"v 0 or 1", good, signer, nil},
		{"v 27 or 28", with(func(s []byte) []byte { s[64] += 27; return s }), signer, nil},
		{"v 2", with(func(s []byte) []byte { s[64] += 2; return s }), signer, ErrSignature},
		{"v 29", with(func(s []byte) []byte { s[64] += 29; return s }), signer, ErrSignature},
		{"high s", with(func(s []byte) []byte {
			new(big.Int).Sub(order, new(big.Int).SetBytes(s[32:64])).FillBytes(s[32:64])
			s[64] ^= 1
			return s
		}), signer, ErrSignature},
		{"zero r", with(func(s []byte) []byte { clear(s[:32]); return s }), signer, ErrSignature},
		{"zero s", with(func(s []byte) []byte { clear(s[32:64]); return s }), signer, ErrSignature},
		{"r past the order", with(func(s []byte) []byte { order.FillBytes(s[:32]); return s }), signer, ErrSignature},
		{"64 bytes", good[:64], signer, ErrSignature},
		{"66 bytes", append(bytes.Clone(good), 0), signer, ErrSignature},
		{"none", nil, signer, ErrSignature},
		{"another signer", good, sampleAddress(1), ErrSigner},
		{"no signer", good, Address{}, ErrSigner},
		{"flipped v", with(func(s []byte) []byte { s[64] ^= 1; return s }), signer, ErrSigner},
	} {
		if err := Verify(digest, c.sig, c.key); err != c.want {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if err := Verify(sampleHash(2), good, signer); err != ErrSigner {
		t.Errorf("over something else: got %v", err)
	}
	if high := with(func(s []byte) []byte { s[64] += 27; return s }); bytes.Equal(high, good) || Verify(digest, high, signer) != nil || high[64] < 27 {
		t.Error("Verify changes its argument")
	}
}

func BenchmarkAuthorisationDigest(b *testing.B) {
	terms := sampleTerms()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := terms.Digest(testChain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key, err := crypto.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	digest := sampleHash(1)
	sig, err := crypto.Sign(digest[:], key)
	if err != nil {
		b.Fatal(err)
	}
	signer := crypto.PubkeyToAddress(key.PublicKey)
	for b.Loop() {
		if err := Verify(digest, sig, signer); err != nil {
			b.Fatal(err)
		}
	}
}
