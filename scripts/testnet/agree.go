package testnet

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// Agree is all that happens for one consent on drafted terms: the bank's officer binds
// the customer's new wallet, the wallet endorses a new key for this consent, the lender
// creates it, and that key signs. The keys stay in memory, for many customers: the file
// of a real wallet (sdk/wallet) costs a second of scrypt each.
func Agree(ctx context.Context, lend, officer *sdk.Client, identity string, terms *sdk.ConsentTerms) error {
	wallet, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	principal, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	address := crypto.PubkeyToAddress(wallet.PublicKey)
	if err := officer.Bind(ctx, identity, address); err != nil {
		return fmt.Errorf("bind wallet: %w", err)
	}
	terms.PrincipalKey = crypto.PubkeyToAddress(principal.PublicKey)
	sign := func(key *ecdsa.PrivateKey, digest func(sdk.Hash) (sdk.Hash, error)) ([]byte, error) {
		d, err := digest(lend.ChainID())
		if err != nil {
			return nil, err
		}
		s, err := ledger.NewKeySigner(key).Sign(d)
		return s[:], err
	}
	endorsed, err := sign(wallet, record.EndorsementOf(terms).Digest)
	if err != nil {
		return err
	}
	p, err := lend.Consents().Prepare(ctx, terms, sdk.SealedPart{
		SubjectID: identity, NoticeLanguage: "en", Endorsement: &record.WalletEndorsement{Wallet: address, Signature: endorsed},
	})
	if err != nil {
		return fmt.Errorf("prepare consent: %w", err)
	}
	if _, err := lend.Consents().Create(ctx, p); err != nil {
		return fmt.Errorf("create consent: %w", err)
	}
	yes, err := sign(principal, p.Terms.Digest)
	if err != nil {
		return err
	}
	if _, err = lend.Consents().Authorise(ctx, p.Terms.ConsentID, record.Wallet, sdk.Evidence{Signature: yes}); err != nil {
		return fmt.Errorf("authorise consent: %w", err)
	}
	return nil
}
