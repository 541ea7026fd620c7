package node

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/sdk"
)

// configured writes the file that an operator would have written for a node.
func (p *peer) configured() {
	p.c.t.Helper()
	id := &p.cfg.Identity
	text := fmt.Sprintf("dataDir: data\ngenesis: %s\nidentity:\n  member: %s\n  node: %s\n  keysDir: keys\n  password: env:NONE\n  voteKey: %s\n  dataKeys: [%s]\n",
		p.cfg.Genesis, id.Member, id.Node, id.VoteKey, strings.Join(id.DataKeys, ", "))
	if err := os.WriteFile(filepath.Join(p.home, ConfigFile), []byte(text), 0o600); err != nil {
		p.c.t.Fatal(err)
	}
}

// backedUp makes a backup of a running node and returns what loses it and brings
// the backup back in its place.
func (p *peer) backedUp() (restore func() *Restored) {
	t := p.c.t
	t.Helper()
	p.configured()
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.c.dir, p.name+".age")
	r, err := Backup(t.Context(), BackupConfig{
		Home: p.home, Config: p.cfg, Out: file, To: []age.Recipient{secret.Recipient()}, With: []age.Identity{secret}, Software: "test",
	})
	if err != nil || !r.Online || !r.Opened {
		t.Fatalf("backup: %+v, %v", r, err)
	}
	return func() *Restored {
		t.Helper()
		if err := os.RemoveAll(p.home); err != nil {
			t.Fatal(err)
		}
		from, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		p.home += "-restored"
		out, err := Restore(t.Context(), RestoreConfig{
			From: from, With: []age.Identity{secret}, Home: p.home, Password: func(string) (keys.Password, error) { return keys.Fixed(password), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Sources{File: filepath.Join(p.home, ConfigFile)})
		if err != nil {
			t.Fatal(err)
		}
		p.cfg.DataDir, p.cfg.Genesis, p.cfg.Identity.KeysDir, p.cfg.Identity.VoteKey = cfg.DataDir, cfg.Genesis, cfg.Identity.KeysDir, cfg.Identity.VoteKey
		return out
	}
}

// TestEveryDamageOfABackupIsFound: by opening it, and by its list of hashes alone.
func TestEveryDamageOfABackupIsFound(t *testing.T) {
	t.Parallel()
	c := newCluster(t, []seat{{harbour, "validator", true}})
	bank := c.node(harbour)
	bank.configured()
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.dir, "whole.age")
	if _, err := Backup(t.Context(), BackupConfig{Home: bank.home, Config: bank.cfg, Out: file, To: []age.Recipient{secret.Recipient()}, Software: "test"}); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, harm := range harms[:2] {
		for range 4 {
			bad := filepath.Join(t.TempDir(), "bad.age")
			for _, suffix := range []string{"", SealSuffix} {
				b, err := os.ReadFile(file + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(bad+suffix, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			harm.do(t, rng, bad)
			for how, with := range map[string][]age.Identity{"by opening it": {secret}, "by its list": nil} {
				if _, err := CheckBackup(t.Context(), bad, with, nil); err == nil || !strings.Contains(err.Error(), "use another") && !strings.Contains(err.Error(), "another backup") {
					t.Errorf("%s, %s: %v", harm.name, how, err)
				}
			}
		}
	}
}

// asked is a request that was permitted.
type asked struct {
	a      *agreement
	ticket *sdk.Ticket
	d      *sdk.Decision
}

func (a *agreement) asked() asked {
	ticket, d := a.request(a.question(incomeBand))
	return asked{a, ticket, d}
}

// comes checks what becomes of a request: a verified answer, or why there is none.
func (x asked) comes(name, want string) {
	t := x.a.c.t
	t.Helper()
	got := x.a.receive(x.ticket, x.d)
	if value(got) != want {
		t.Errorf("%s: %s, want %s", name, value(got), want)
	}
}

// silent keeps answers in; lossy lets them out, and the sender never learns it.
var (
	silent = &rules{request: func(_ context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
		if p == network.ProtocolAnswer {
			return nil, fmt.Errorf("%w: %w", network.ErrNotSent, errRule)
		}
		return next()
	}}
	lossy = &rules{request: func(_ context.Context, _ network.PeerID, p network.Protocol, next func() ([]byte, error)) ([]byte, error) {
		b, err := next()
		if p == network.ProtocolAnswer && err == nil {
			return nil, errRule
		}
		return b, err
	}}
)

// TestEveryPermitHasOneOutcomeAfterARestore: what a bank was permitted to answer
// before its backup and after it, and had answered, sent, sealed or not yet seen
// when it lost its disk, comes to one answer or to one receipt that says that none
// is vouched for.
func TestEveryPermitHasOneOutcomeAfterARestore(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank, lend := c.node(harbour), c.node(lender)
	who := &c.customers[0]
	a, ended := c.agree(harbour, notice, who.identity, true), c.agree(harbour, notice, who.identity, true)

	bank.rules(silent)
	resent, withheld := a.asked(), ended.asked()
	sealed := bank.waiting(resent.d.RequestID)
	bank.waiting(withheld.d.RequestID)
	restore := bank.backedUp()

	// The backup holds both; one is withheld since, the other arrives.
	ended.revoke(c.node(lake))
	withheld.comes("ended since", string(record.Withheld))
	bank.rules(nil)
	resent.comes("sent since", who.band())
	given := a.asked()
	given.comes("answered since", who.band())
	bank.rules(lossy)
	unproven := a.asked()
	eventually(t, patience, func() error {
		if lend.inbox(unproven.d.RequestID, harbour) == nil {
			return errNoRecord
		}
		return nil
	})
	bank.rules(silent)
	lost := a.asked()
	bank.waiting(lost.d.RequestID)
	bank.stop()
	unseen := a.asked()
	bank.rules(nil)
	restore()
	c.start(bank)

	resent.comes("sent since", who.band())
	if got := lend.inbox(resent.d.RequestID, harbour); !bytes.Equal(got, sealed) {
		t.Error("what was sent again is not what was sent")
	}
	given.comes("answered since", who.band())
	lost.comes("sealed since and lost", string(record.Withheld))
	unseen.comes("permitted while the bank was away", string(record.Withheld))
	withheld.comes("ended since", string(record.Withheld))
	for _, x := range []asked{withheld, lost, unseen} {
		if lend.inbox(x.d.RequestID, harbour) != nil {
			t.Error("an answer arrived for which the ledger says WITHHELD")
		}
	}
	unproven.comes("sent, which the bank never learnt", who.band())
}

// TestWhatTheBackupHeldLeavesOnlyUnderALivingConsent: nobody sent it before the
// loss; afterwards it is sent, once, unless its consent has ended meanwhile.
func TestWhatTheBackupHeldLeavesOnlyUnderALivingConsent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	notice := c.publish(harbour)
	bank, lend := c.node(harbour), c.node(lender)
	who := &c.customers[0]
	a, ended := c.agree(harbour, notice, who.identity, true), c.agree(harbour, notice, who.identity, true)
	bank.rules(silent)
	waits, revoked := a.asked(), ended.asked()
	bank.waiting(waits.d.RequestID)
	bank.waiting(revoked.d.RequestID)
	restore := bank.backedUp()
	since := c.agree(harbour, notice, who.identity, true)
	bank.stop()
	bank.rules(nil)
	ended.revoke(c.node(lake))
	made := restore()
	c.start(bank)
	waits.comes("waited in the backup", who.band())
	revoked.comes("ended meanwhile", string(record.Withheld))
	if lend.inbox(revoked.d.RequestID, harbour) != nil {
		t.Error("the answer under the ended consent arrived")
	}
	// Nothing was lost, so the epoch is not closed: what is asked now is answered.
	a.asked().comes("asked after the restore", who.band())

	// The part and the binding of a consent from after the backup are lost. The bank
	// binds its customer again, the lender puts the same part again.
	later := since.asked()
	if err := bank.as("officer").Bind(t.Context(), who.identity, since.wallet); err != nil {
		t.Fatal(err)
	}
	if err := lend.as("integration").Consents().Deliver(t.Context(), since.prepared); err != nil {
		t.Fatal(err)
	}
	later.comes("under a consent that the backup does not know", who.band())

	// The doctor says the same whether the node runs or not.
	check := func(when string, n *doctor.Node) {
		t.Helper()
		r := n.Restored
		if r == nil || r.Validator != made.Validator || r.VoteKey != made.VoteKey || r.Admitted || !r.CaughtUp || !r.Erased || len(r.Closed) != 0 {
			t.Errorf("%s: %+v, want validator %d not admitted", when, r, made.Validator)
		}
	}
	eventually(t, patience, func() error { return bank.node.restored.serves() })
	n, err := bank.node.describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check("running", n)
	bank.stop()
	check("stopped", Examine(t.Context(), bank.cfg, "test", keys.Fixed(password)).Node)
}
