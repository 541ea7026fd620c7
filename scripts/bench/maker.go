package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/store"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// maker extends a stopped node's ledger as the network would, without ordering: it
// holds a quorum's vote keys.
type maker struct {
	b      *bench
	chain  ledger.Hash
	store  *store.Store
	state  *state.DB
	exec   *executor.Executor
	voters []voter
	client []sdk.Signer // of the lenders
	key    []byte       // answer key of every request: nobody answers
}

type voter struct {
	id  uint64
	key ledger.Signer
}

// blockGap is the block time between two blocks that are made, in ms.
const blockGap = 10

func (b *bench) openMaker(ctx context.Context, x *testnet.Node) (m *maker, err error) {
	genesis := b.net.Genesis()
	m = &maker{b: b, chain: genesis.Hash()}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if m.store, err = store.Open(filepath.Join(x.DataDir(), "blocks"), m.chain); err != nil {
		return m, err
	}
	if m.state, err = state.Open(ctx, state.Config{Dir: filepath.Join(x.DataDir(), "state"), ChainID: m.chain}); err != nil {
		return m, err
	}
	contracts, err := node.Contracts()
	if err != nil {
		return m, err
	}
	if m.exec, err = executor.New(executor.Config{DB: m.state, Genesis: genesis, Contracts: contracts}); err != nil {
		return m, err
	}
	if err := m.openKeys(genesis); err != nil {
		return m, err
	}
	answerKey, err := answer.GenerateKey()
	if err != nil {
		return m, err
	}
	m.key = answerKey.PublicKey().Bytes()
	return m, nil
}

func (m *maker) openKeys(genesis *ledger.Config) error {
	for _, x := range m.b.net.Nodes[:ledger.Quorum(len(genesis.Validators))] {
		s, err := keys.Open(filepath.Join(x.Home, "keys"))
		if err != nil {
			return err
		}
		password, err := keys.FromFile(m.b.net.PasswordPath(x.Member))("vote")
		if err != nil {
			return err
		}
		key, err := s.Signer("vote", keys.Vote, password)
		if err != nil {
			return err
		}
		v := genesis.ValidatorByVoteKey(key.Address())
		if v == nil {
			return fmt.Errorf("the vote key of %s is no validator's", x.Name)
		}
		m.voters = append(m.voters, voter{v.ID, key})
	}
	for _, l := range lenders {
		s, err := m.b.net.Signer(l, "integration")
		if err != nil {
			return err
		}
		m.client = append(m.client, s)
	}
	return nil
}

func (m *maker) close() error {
	var errs []error
	if m.state != nil {
		errs = append(errs, m.state.Close())
	}
	if m.store != nil {
		errs = append(errs, m.store.Close())
	}
	return errors.Join(errs...)
}

// made are the requests of one block, signed.
type made struct {
	requests [][]byte
	txs      []*ledger.Transaction
	err      error
}

// make appends n blocks of per transactions each and returns the new height.
// Signing runs beside execution.
func (m *maker) make(ctx context.Context, n, per int) (ledger.Height, error) {
	tip := m.store.Tip()
	if h, _, _ := m.state.Executed(); h != tip.Height {
		return 0, fmt.Errorf("the node stopped with block %d executed of %d", h, tip.Height)
	}
	ctx, cancel := context.WithCancel(ctx)
	signed := make(chan made, 16)
	defer func() {
		cancel()
		for range signed { // until the signer has seen it
		}
	}()
	go func() {
		defer close(signed)
		for i := range n {
			x := m.sign(i*per, per, tip.Header.Time+uint64(i+1)*blockGap)
			select {
			case signed <- x:
			case <-ctx.Done():
				return
			}
		}
	}()
	began := time.Now()
	for i := range n {
		x := <-signed
		if x.err == nil {
			x.err = m.extend(x, tip.Header.Time+uint64(i+1)*blockGap)
		}
		if x.err != nil {
			return 0, x.err
		}
		if i > 0 && i%2000 == 0 {
			m.b.progress("%d of %d blocks, %.0f transactions/s", i, n, float64(i*per)/time.Since(began).Seconds())
		}
	}
	return m.store.Tip().Height, m.state.Flush()
}

// sign makes the i-th and following access requests, each on a consent of its own
// as far as they go.
func (m *maker) sign(i, per int, blockTime uint64) (out made) {
	for range per {
		lender := i % len(lenders)
		list := m.b.consents[lender]
		body, err := sdk.JSON(&record.RequestSpec{
			AnswerKey: m.key, ConsentID: list[i/len(lenders)%len(list)], DeadlineMs: (30 * time.Second).Milliseconds(),
			Params: record.MakeParamValues(nil), Purpose: record.CreditChecking, TemplateID: m.b.template[silent],
		})
		if err != nil {
			return made{err: err}
		}
		p := ledger.Payload{
			ChainID: m.chain, Org: lenders[lender], Key: m.client[lender].Address(), Contract: record.ContractAccess, Function: "Request",
			Args: [][]byte{body}, NotBefore: blockTime - 1000, ValidUntil: blockTime + 60_000,
		}
		rand.Read(p.Nonce[:])
		tx := ledger.NewTransaction(p)
		if err := tx.Sign(m.client[lender]); err != nil {
			return made{err: err}
		}
		out.requests, out.txs = append(out.requests, tx.Encode()), append(out.txs, tx)
		i++
	}
	return out
}

// extend certifies, appends and executes one block.
func (m *maker) extend(x made, blockTime uint64) error {
	tip := m.store.Tip()
	executed, roots, _ := m.state.Executed()
	conf := tip.Config
	block := &ledger.Block{Requests: x.requests, Header: ledger.Header{
		ChainID: m.chain, Height: tip.Height + 1, Prev: tip.Hash, TxRoot: ledger.TxRoot(x.requests), Time: blockTime, ConfigSeq: conf.Seq,
		ValidatorsHash: conf.ValidatorsHash(), NextValidatorsHash: conf.ValidatorsHash(), EngineMetaHash: ledger.HashMeta(nil),
		ExecHeight: executed, StateRoot: roots.State, ReceiptsRoot: roots.Receipts, ReceiptsSize: roots.ReceiptsSize,
	}}
	cert := &ledger.Certificate{Header: block.Header.Hash()}
	for _, v := range m.voters {
		sig, err := v.key.Sign(ledger.VoteDigest(cert.Header, cert.View))
		if err != nil {
			return err
		}
		cert.Votes = append(cert.Votes, ledger.Vote{Validator: v.id, Sig: sig})
	}
	ledger.SortVotes(cert.Votes)
	if err := m.store.Append(block, cert); err != nil {
		return err
	}
	res, err := m.exec.Execute(block, x.txs)
	if err != nil {
		return err
	}
	for _, o := range res.Outcomes {
		if o.Code != string(record.OK) {
			return fmt.Errorf("a request that was made was refused with %s: %s", o.Code, o.Message)
		}
	}
	m.state.SetCertified(executed)
	_, err = m.state.FlushIfDue(blockTime)
	return err
}
