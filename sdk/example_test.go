package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
	"github.com/assent-network/assent/sdk/wallet"
)

// exampleNetwork stands for a real one: the genesis config comes from a member,
// address and pin from the node's operator, the signer from sdk.ReadKeyFile.
func exampleNetwork() (genesis []byte, endpoint string, lender sdk.Signer, stop func()) {
	net := fakenode.New(time.Now).Furnish()
	node := fakenode.Serve(net, fakenode.Lender)
	return net.Genesis.Encode(), node.URL() + "#sha256=" + node.Pin().Hex()[2:], fakenode.Signer("integration lender"), node.Close
}

func Example() {
	ctx := context.Background()
	genesis, endpoint, signer, stop := exampleNetwork()
	defer stop()

	client, err := sdk.Dial(ctx, []string{endpoint}, sdk.WithGenesis(genesis), sdk.WithIdentity("lender", signer))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	consent, err := exampleConsent(ctx, client)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := client.Query(ctx, sdk.QueryRequest{
		Consent: consent, Template: "income-band", Purpose: "CreditChecking", Params: map[string]string{"months": "12"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Decision.Code, r.Answer.Outcome, r.Answer.Value)
	fmt.Println("verified:", r.Verified.Receipt.Outcome)

	uses, err := client.Uses(ctx, consent)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("uses, proven complete:", len(uses.Uses))
	// Output:
	// PERMIT ANSWERED HIGH
	// verified: ANSWERED
	// uses, proven complete: 1
}

// exampleConsent is the lender and, in the middle, the subject's wallet.
func exampleConsent(ctx context.Context, client *sdk.Client) (sdk.ConsentID, error) {
	notice, err := fakenode.Notice.Hash() // of the published privacy notice
	if err != nil {
		return "", err
	}
	terms, err := client.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: "bank", Product: "salary-account", Templates: []sdk.TemplateID{"income-band"},
		Purposes: []sdk.Purpose{"CreditChecking"}, Expires: time.Now().AddDate(0, 1, 0), MaxUses: 3, NoticeHash: notice,
	})
	if err != nil {
		return "", err
	}
	offer, err := wallet.NewOffer(client.ChainID(), terms, nil, nil, time.Now().Add(time.Hour).UnixMilli())
	if err != nil {
		return "", err
	}
	subject, forget, err := exampleWallet()
	if err != nil {
		return "", err
	}
	defer forget()
	endorsed, err := subject.Endorse(offer) // the wallet shows wallet.Explain first
	if err != nil {
		return "", err
	}
	terms.PrincipalKey = endorsed.PrincipalKey
	prepared, err := client.Consents().Prepare(ctx, terms, sdk.SealedPart{
		SubjectID: "customer 4711", NoticeLanguage: "en", Endorsement: endorsed.Record(),
	})
	if err != nil {
		return "", err
	}
	if _, err := client.Consents().Create(ctx, prepared); err != nil {
		return "", err
	}
	copyOfPart, err := prepared.ForSubject(endorsed.PartKey[:])
	if err != nil {
		return "", err
	}
	final, err := wallet.NewTerms(client.ChainID(), &prepared.Terms, copyOfPart)
	if err != nil {
		return "", err
	}
	yes, err := subject.Sign(final)
	if err != nil {
		return "", err
	}
	consent, err := client.Consents().Authorise(ctx, terms.ConsentID, sdk.MethodWallet, yes.Evidence())
	if err != nil {
		return "", err
	}
	return consent.ConsentID, nil
}

// A transaction whose signing key is kept elsewhere.
func ExampleTransaction_WithSignature() {
	ctx := context.Background()
	genesis, endpoint, signer, stop := exampleNetwork()
	defer stop()
	client, err := sdk.Dial(ctx, []string{endpoint}, sdk.WithGenesis(genesis), sdk.WithIdentity("lender", signer))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	tx, err := client.NewTransaction("consent", "Expire", "0x00000000000000000000000000000000")
	if err != nil {
		fmt.Println(err)
		return
	}
	sig, err := signer.Sign(tx.Digest()) // in the machine that holds the key
	if err != nil {
		fmt.Println(err)
		return
	}
	if tx, err = tx.WithSignature(sig[:]); err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Submit(ctx, tx)
	var refused *sdk.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Code, refused.Retryable())
	}
	// Output: CONSENT_UNKNOWN false
}

// Events go on from where the reader stopped.
func ExampleClient_Events() {
	ctx := context.Background()
	genesis, endpoint, signer, stop := exampleNetwork()
	defer stop()
	client, err := sdk.Dial(ctx, []string{endpoint}, sdk.WithGenesis(genesis), sdk.WithIdentity("lender", signer))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	stored := sdk.Checkpoint{} // from the reader's own database
	for ev, err := range client.Events(ctx, &stored, sdk.EventFilter{Names: []string{"product"}}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(ev.Contract, ev.Name)
		stored = ev.Next // together with what the event changed
		break
	}
	// Output: catalog product
}

// exampleWallet is a subject with a wallet that is thrown away afterwards.
func exampleWallet() (w *wallet.Wallet, forget func(), err error) {
	dir, err := os.MkdirTemp("", "assent-example")
	if err != nil {
		return nil, nil, err
	}
	w, err = wallet.Create(filepath.Join(dir, "wallet.json"), "a long password")
	return w, func() { os.RemoveAll(dir) }, err
}
