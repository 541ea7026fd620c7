package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// The network of the floods: a bank whose product everybody asks about and which
// answers nothing, two lenders that behave, and one that does not. The greedy
// lender's observer is registered and never started: the flood takes its place.
const (
	bank    = "bank"
	greedy  = "greedy"
	product = "bank.card"
	late    = "bank.late"
)

var lenders = []string{"lender-1", "lender-2"}

func manifest() testnet.Manifest {
	return testnet.Manifest{Network: "flood", Profiles: true, Members: []testnet.ManifestMember{
		{ID: bank, Name: "Bank", Roles: []string{"DATA_PROVIDER"}, Validators: 1},
		{ID: lenders[0], Name: "Lender 1", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
		{ID: lenders[1], Name: "Lender 2", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
		{ID: greedy, Name: "Greedy", Roles: []string{"DATA_CONSUMER"}, Validators: 1, Observers: 1},
	}}
}

// world is the running network.
type world struct {
	net      *testnet.Net
	observer *testnet.Node // the greedy member's, played by the flood
	clients  map[string]*sdk.Client
	keys     map[string]sdk.Signer // integration keys by member
	consents map[string]sdk.ConsentID
	notice   sdk.Hash
}

// open makes and starts the network in dir and publishes what is asked about.
func open(ctx context.Context, dir, program string) (*world, error) {
	w := &world{clients: map[string]*sdk.Client{}, keys: map[string]sdk.Signer{}, consents: map[string]sdk.ConsentID{}}
	var err error
	if program == "" {
		if program, err = testnet.Build(ctx, dir); err != nil {
			return nil, err
		}
	}
	if w.net, err = testnet.Create(ctx, filepath.Join(dir, "net"), program, manifest()); err != nil {
		return nil, err
	}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) start(ctx context.Context) error {
	for _, x := range w.net.Nodes {
		if !x.Validator() {
			w.observer = x
		}
	}
	if err := w.net.Start(ctx, func(x *testnet.Node) bool { return x.Validator() }); err != nil {
		return err
	}
	if err := w.net.Enrol(ctx); err != nil {
		return err
	}
	for _, m := range append([]string{greedy}, lenders...) {
		password, err := w.password(m)
		if err != nil {
			return err
		}
		if w.keys[m], err = sdk.ReadKeyFile(w.net.KeyPath(m, "integration"), password); err != nil {
			return err
		}
		if w.clients[m], err = w.net.Client(ctx, m, "integration"); err != nil {
			return err
		}
	}
	return w.publish(ctx)
}

func (w *world) password(member string) (string, error) {
	b, err := os.ReadFile(w.net.PasswordPath(member))
	return strings.TrimSpace(string(b)), err
}

func (w *world) publish(ctx context.Context) error {
	officer, err := w.net.Client(ctx, bank, "officer")
	if err != nil {
		return err
	}
	defer officer.Close()
	if w.notice, _, err = officer.Products().PublishNotice(ctx, sdk.NoticeSpec{NoticeID: "bank.notice", Language: "en", Title: "Notice", Text: "What may be asked."}); err != nil {
		return err
	}
	class := record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 1_000_000, BitsPerYear: 10_000_000}
	if _, err := officer.Products().Publish(ctx, sdk.ProductSpec{
		ProductID: product, Title: "Card history", Version: 1,
		Columns: []sdk.Column{{Name: "late", Type: record.TypeInt, DataClass: record.C2, Class: class}},
		Methods: []sdk.Method{record.ProviderAuthenticated, record.Wallet}, Purposes: []sdk.Purpose{record.CreditChecking},
	}); err != nil {
		return err
	}
	if err := w.net.ApproveTemplate(ctx, bank, sdk.TemplateSpec{
		TemplateID: late, Version: 1, ProductID: product, Kind: record.Bucket, Columns: []string{"late"},
		Source: `late > 1 ? "LATE" : "ON_TIME"`, Outputs: []string{"LATE", "ON_TIME", "NO_RECORD"}, CostLimit: 1000, AnswerTTL: 60_000,
	}); err != nil {
		return err
	}
	if _, err := officer.Products().OpenEpoch(ctx, product, 1); err != nil {
		return err
	}
	for m, c := range w.clients {
		if w.consents[m], err = w.consent(ctx, c, officer); err != nil {
			return fmt.Errorf("consent of %s: %w", m, err)
		}
	}
	return nil
}

// consent makes one that may be used very often.
func (w *world) consent(ctx context.Context, lender, officer *sdk.Client) (sdk.ConsentID, error) {
	t, err := lender.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: bank, Product: product, Templates: []sdk.TemplateID{late}, Purposes: []sdk.Purpose{record.CreditChecking},
		Expires: time.Now().Add(24 * time.Hour), MaxUses: 1_000_000, NoticeHash: w.notice,
	})
	if err != nil {
		return "", err
	}
	var evidence sdk.Hash
	rand.Read(t.RecordCommitment[:])
	rand.Read(evidence[:])
	body, err := sdk.JSON(t)
	if err != nil {
		return "", err
	}
	if _, err := lender.Invoke(ctx, record.ContractConsent, "Create", string(body)); err != nil {
		return "", err
	}
	_, err = officer.Consents().Authorise(ctx, t.ConsentID, record.ProviderAuthenticated, sdk.Evidence{EvidenceHash: evidence})
	return t.ConsentID, err
}

// request signs an access request of a member.
func (w *world) request(member string) (*sdk.Transaction, error) {
	c := w.clients[member]
	body, err := sdk.JSON(&record.RequestSpec{
		AnswerKey: answerKey, ConsentID: w.consents[member], Params: record.MakeParamValues(nil), Purpose: record.CreditChecking, TemplateID: late,
	})
	if err != nil {
		return nil, err
	}
	tx, err := c.NewTransaction(record.ContractAccess, "Request", string(body))
	if err != nil {
		return nil, err
	}
	return tx.Sign(w.keys[member])
}

// answerKey is nobody's: nothing is answered.
var answerKey = bytes.Repeat([]byte{7}, 32)

// heap signs n access requests of the greedy member.
func (w *world) heap(n int) ([][]byte, error) {
	out := make([][]byte, n)
	for i := range out {
		tx, err := w.request(greedy)
		if err != nil {
			return nil, err
		}
		out[i] = tx.Bytes()
	}
	return out, nil
}

// spoil makes the signatures of requests wrong, each in its own way.
func spoil(reqs [][]byte) ([][]byte, error) {
	for i, r := range reqs {
		tx, err := ledger.DecodeTransaction(r)
		if err != nil {
			return nil, err
		}
		tx.Sig[5] ^= byte(1 + i%255)
		reqs[i] = tx.Encode()
	}
	return reqs, nil
}

// members lists who has a validator.
func (w *world) validators() []*testnet.Node {
	var out []*testnet.Node
	for _, x := range w.net.Nodes {
		if x.Validator() {
			out = append(out, x)
		}
	}
	return out
}

func (w *world) close() error {
	for _, c := range w.clients {
		c.Close()
	}
	return w.net.Stop()
}

// hostConfig reads the configuration of the observer whose place the flood takes.
func (w *world) hostConfig() (config.Config, error) {
	return config.Load(config.Sources{File: filepath.Join(w.observer.Home, node.ConfigFile)})
}
