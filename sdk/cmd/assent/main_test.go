package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
	"github.com/assent-network/assent/sdk/wallet"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"assent": func() { os.Exit(Main()) }})
}

// TestScripts runs the command as a process of its own against a network of the
// test's. Beside the usual commands a script has
//
//	exits CODE assent …   runs it and wants that exit code
//	consent LINKFILE      sets $CONSENT to the id in a link
//	field NAME VAR        sets $VAR to a field of the JSON on the last stdout
//	lie METHOD            makes the node's answers to a method wrong; "lie" alone stops it
//	down                  stops the node
//
// and, in its directory, genesis.json, the key files <role>-<member>.json with
// the password in password.txt, and product, template and notice files.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "consent": setConsent, "field": field, "lie": lie, "down": down,
		},
	})
}

type nodeKey struct{}

func setup(env *testscript.Env) error {
	net := fakenode.New(time.Now).Furnish()
	if strings.Contains(env.WorkDir, "script-total") { // pledges take their time
		if err := furnishSet(env, net); err != nil {
			return err
		}
	}
	if strings.Contains(env.WorkDir, "script-statistics") {
		if err := furnishStatistics(env, net); err != nil {
			return err
		}
	}
	node := fakenode.Serve(net, fakenode.Lender)
	bank := fakenode.Serve(net, fakenode.Bank)
	auditor, outside := fakenode.Serve(net, fakenode.Auditor), fakenode.Serve(net, fakenode.Outside)
	for _, n := range []*fakenode.Node{node, bank, auditor, outside} {
		env.Defer(n.Close)
	}
	env.Values[nodeKey{}] = node
	dir := env.WorkDir
	for _, name := range []string{"admin-lender", "admin-bank", "integration-lender", "integration-bank", "officer-bank", "second-bank", "auditor-auditor", "stranger-lender",
		"admin-auditor", "officer-auditor", "admin-outside", "recovered-outside"} {
		if err := writeKey(filepath.Join(dir, name+".json"), strings.Replace(name, "-", " ", 1)); err != nil {
			return err
		}
	}
	product, template, notice := fakenode.ProductSpec(), fakenode.TemplateSpec(), fakenode.Notice
	product.ProductID, template.TemplateID, notice.NoticeID = "cards", "income-band-2", "cards"
	for name, r := range map[string]sdk.Record{"product.json": &product, "template.json": &template, "notice.json": &notice} {
		b, err := sdk.JSON(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	hash, err := fakenode.Notice.Hash()
	if err != nil {
		return err
	}
	genesis, err := sdk.FormatGenesis(net.Genesis)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"genesis.json": genesis, "password.txt": []byte("a password\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command under the race detector lingers for a second
	env.Setenv("HOME", dir)
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	env.Setenv("ASSENT_PASSWORD_FILE", filepath.Join(dir, "password.txt"))
	env.Setenv("NODE", node.URL()+"#sha256="+node.Pin().Hex()[2:])
	env.Setenv("BANK", bank.URL()+"#sha256="+bank.Pin().Hex()[2:])
	for name, n := range map[string]*fakenode.Node{"AUDITOR": auditor, "OUTSIDE": outside} {
		env.Setenv(name, n.URL()+"#sha256="+n.Pin().Hex()[2:])
	}
	env.Setenv("OUTSIDEADMIN", strings.ToLower(fakenode.Signer("admin outside").Address().Hex()))
	env.Setenv("AUDITOROFFICER", strings.ToLower(fakenode.Signer("officer auditor").Address().Hex()))
	env.Setenv("RECOVERED", strings.ToLower(fakenode.Signer("recovered outside").Address().Hex()))
	env.Setenv("NODEURL", node.URL())
	env.Setenv("NODEPIN", node.Pin().Hex()[2:])
	env.Setenv("CHAIN", net.ChainID().Hex())
	env.Setenv("NOTICE", hash.Hex())
	env.Setenv("UNTIL", time.Now().AddDate(0, 1, 0).UTC().Format(time.DateOnly))
	return nil
}

// furnishSet gives the network four banks of a set: $LOAN1 to $LOAN4 are the
// consents, $KEYS the members' keys.
func furnishSet(env *testscript.Env, net *fakenode.Network) error {
	keys, err := filepath.Abs("../../../node/query/exposure/testdata/keys")
	if err != nil {
		return err
	}
	seats, err := net.FurnishSet(keys, 120, 0, 35, 7)
	if err != nil {
		return err
	}
	env.Setenv("KEYS", keys)
	for i, s := range seats {
		env.Setenv(fmt.Sprintf("LOAN%d", i+1), string(s.Consent))
	}
	net.Provider = func(r *record.Request, honest answer.Answer) (answer.Answer, answer.Answer, bool) {
		if _, err := os.Stat(filepath.Join(env.WorkDir, "faulty")); err == nil && r.ConsentID == seats[1].Consent {
			b := slices.Clone(honest.Proof)
			b[35+exposure.PledgeSize+exposure.ScalarSize-1] ^= 1 // its value
			honest = fakenode.WithShare(honest, b)
		}
		if _, err := os.Stat(filepath.Join(env.WorkDir, "silent")); err == nil && r.ConsentID == seats[2].Consent {
			honest.Outcome, honest.Proof, honest.Body.Value, honest.Body.ProofHash = record.Withheld, nil, "", record.Hash{}
			return honest, honest, false
		}
		return honest, honest, true
	}
	return nil
}

// writeKey encrypts a key of the network, cheaply.
func writeKey(path, name string) error {
	private := fakenode.Key(name)
	b, err := keystore.EncryptKey(&keystore.Key{Address: crypto.PubkeyToAddress(private.PublicKey), PrivateKey: private}, "a password", 2, 1)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func setConsent(ts *testscript.TestScript, _ bool, args []string) {
	o, err := wallet.ParseAs[wallet.Offer](ts.ReadFile(args[0]))
	ts.Check(err)
	t, err := o.Draft()
	ts.Check(err)
	ts.Setenv("CONSENT", string(t.ConsentID))
}

func field(ts *testscript.TestScript, _ bool, args []string) {
	var m map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &m))
	v, ok := m[args[0]]
	if !ok {
		ts.Fatalf("no field %q in %v", args[0], m)
	}
	ts.Setenv(args[1], fmt.Sprint(v))
}

func lie(ts *testscript.TestScript, _ bool, args []string) {
	n := ts.Value(nodeKey{}).(*fakenode.Node)
	if len(args) == 0 {
		for _, m := range []string{"ProveRecord", "ProveReceipt"} {
			n.Tamper(m, nil)
		}
		n.Fail("AwaitAnswer", nil)
		return
	}
	if args[0] == "AwaitAnswer" { // it does not come
		n.Fail(args[0], fakenode.Pending)
		return
	}
	n.Tamper(args[0], func(m proto.Message) {
		switch r := m.(type) {
		case *v1.ProveRecordResponse:
			r.StateProof[len(r.StateProof)-1] ^= 1
		case *v1.ProveReceiptResponse:
			r.ReceiptProof[60] ^= 1
		}
	})
}

func down(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Value(nodeKey{}).(*fakenode.Node).Close()
}

// The X25519 private key that "member key add --out" writes is one.
func TestDataKeyFileHoldsThePrivateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	a := &app{}
	var spec sdk.DataKeySpec
	if err := a.publicKey(&spec, "", path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := hex.DecodeString(strings.TrimSpace(string(b))); err != nil || len(k) != 32 || len(spec.PublicKey) != 32 {
		t.Errorf("private key of %d bytes, public key of %d, %v", len(k), len(spec.PublicKey), err)
	}
	if err := a.publicKey(&spec, "", path); err == nil {
		t.Error("an existing file was replaced")
	}
	if err := a.publicKey(&spec, "", ""); err == nil {
		t.Error("a private key was made and kept nowhere")
	}
}
