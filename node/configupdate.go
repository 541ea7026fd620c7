package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// assembler turns a proposal that has its approvals into a config update. Every
// validator does it, the leader first; the update has one request id whoever
// submits it, so that it is ordered once.
type assembler struct {
	wake chan struct{} // capacity 1: a proposal or the config has changed

	said map[ledger.Hash]string // what was logged of a proposal; owned by run
	// no is why this program cannot put proposals in force that have their approvals,
	// and that this node's member has not refused on the ledger; owned by run.
	no []refusedUpdate
}

// refusedUpdate is a proposal that cannot come into force with this program.
type refusedUpdate struct {
	proposal *record.Proposal
	why      error
}

// Pauses of the assembler.
const (
	assembleTurn  = time.Second     // between the turns of validators, the leader's being first
	assembleAgain = 2 * time.Second // until an update that is not in force yet is submitted again
)

func (a *assembler) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// runAssembler submits what is approved until ctx ends. Its error is a state that
// cannot be read.
func (n *Node) runAssembler(ctx context.Context) error {
	a := &n.assembler
	timer := time.NewTimer(0)
	defer timer.Stop()
	var first ledger.Hash // the update whose turn is waited for
	var due time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-timer.C:
		}
		u, err := n.approvedUpdate()
		if err != nil {
			return err
		}
		if u == nil {
			timer.Stop()
			first = ledger.Hash{}
			if n.refuseUpdates(ctx) {
				timer.Reset(assembleAgain)
			}
			continue
		}
		now := time.Now()
		if id := u.ID(); id != first {
			first, due = id, now.Add(n.assembleDelay())
		}
		if !now.Before(due) {
			n.submitUpdate(ctx, u)
			due = now.Add(assembleAgain)
			n.refuseUpdates(ctx) // after what can come into force; tried again with it
		}
		timer.Reset(time.Until(due))
	}
}

// assembleDelay is how long this node leaves the update to others: not at all if
// it leads, longer the later its number comes after the leader's.
func (n *Node) assembleDelay() time.Duration {
	leader, self := n.chain.EngineStatus().Leader, n.chain.Standing().Validator
	if leader == 0 || uint64(leader) == self {
		return 0
	}
	v := n.store.Tip().Config.Validators
	at := func(id uint64) int {
		return slices.IndexFunc(v, func(x ledger.Validator) bool { return x.ID == id })
	}
	turns := (at(self) - at(uint64(leader)) + len(v)) % len(v)
	return time.Duration(turns) * assembleTurn
}

func (n *Node) submitUpdate(ctx context.Context, u *ledger.Update) {
	if !n.chain.Standing().Orders {
		return // an observer, or about to order
	}
	err := n.chain.SubmitUpdate(ctx, u)
	hash := u.Config.Hash()
	switch {
	case ctx.Err() != nil:
	case err == nil:
		n.assembler.say(hash, "submitted", func() {
			n.log.Info("an approved config is submitted", "configSeq", u.Config.Seq, "configHash", hash, "approvals", len(u.Approvals))
		})
	case errors.Is(err, chain.ErrNotReady), errors.Is(err, chain.ErrBusy):
		n.log.Info("an approved config could not be submitted, will try again", "configSeq", u.Config.Seq, "reason", err)
	default:
		n.assembler.say(hash, err.Error(), func() {
			n.log.Error("an approved config is refused", "configSeq", u.Config.Seq, "configHash", hash, "reason", err)
		})
	}
}

// refuseUpdates says on the ledger which proposals this validator cannot put in
// force, so that they end once so many say so that nobody can (membership:Refuse).
// It reports whether one is still to be said.
func (n *Node) refuseUpdates(ctx context.Context) (again bool) {
	if len(n.assembler.no) == 0 || !n.chain.Standing().Orders {
		return false
	}
	for _, x := range n.assembler.no {
		// A proposal that is made anew may be refused anew.
		id := fmt.Sprintf("refuse config/%s/%d", x.proposal.ConfigHash, x.proposal.ProposedAt)
		spec, err := record.Encode(&record.RefusalSpec{ConfigHash: x.proposal.ConfigHash, Reason: reasonText(x.why)})
		if err != nil {
			n.log.Error("the refusal of a config cannot be written", "configHash", x.proposal.ConfigHash, "err", err)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, refusePatience)
		code, err := n.submitOwn(ctx, id, record.ContractMembership, "Refuse", spec)
		cancel()
		switch {
		case err != nil:
			again = true
			n.assembler.say(ledger.Sum([]byte("refuse"), x.proposal.ConfigHash[:]), err.Error(), func() {
				n.log.Info("that a config cannot come into force could not be said on the ledger, will try again", "configHash", x.proposal.ConfigHash, "err", err)
			})
		case code == record.OK:
			n.log.Info("that a config cannot come into force stands on the ledger", "configHash", x.proposal.ConfigHash)
		default: // the proposal has ended, or another node of this member said it
			n.assembler.say(ledger.Sum([]byte("refuse"), x.proposal.ConfigHash[:]), string(code), func() {
				n.log.Info("the ledger does not take the refusal of a config", "configHash", x.proposal.ConfigHash, "code", code)
			})
		}
	}
	return again
}

// refusePatience bounds how long a refusal may keep the assembler from its work.
const refusePatience = 5 * time.Second

// reasonText makes an error fit for a record: one line of at most 256 bytes.
func reasonText(err error) string {
	const most = 256
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(err.Error(), " "))
	if text = strings.TrimSpace(text); len(text) <= most {
		return text
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strings.TrimSpace(text[:cut])
}

// say logs what is new about a proposal.
func (a *assembler) say(hash ledger.Hash, what string, log func()) {
	if a.said[hash] == what {
		return
	}
	if len(a.said) >= 64 {
		clear(a.said)
	}
	a.said[hash] = what
	log()
}

// approvedUpdate returns the update that is due: of the proposals that may follow
// the config in force, the one that had its approvals first. Nil if there is none.
func (n *Node) approvedUpdate() (*ledger.Update, error) {
	conf := n.store.Tip().Config
	n.assembler.no = n.assembler.no[:0]
	ready, err := approvedProposals(n.state.View(), conf.Seq+1)
	if err != nil {
		return nil, err
	}
	for _, p := range ready {
		u, err := n.updateOf(p)
		if err == nil {
			err = u.Verify(n.chainID, conf)
		}
		if errors.Is(err, errStateRow) {
			return nil, err
		}
		if err != nil {
			n.assembler.say(p.ConfigHash, err.Error(), func() {
				n.log.Error("a config has its approvals and cannot come into force with this program: update it if it does not know the protocol version; another proposal may overtake this one", "configSeq", p.ConfigSeq, "configHash", p.ConfigHash, "reason", err)
			})
			if p.RefusalOf(record.OrgID(n.member)) == nil {
				n.assembler.no = append(n.assembler.no, refusedUpdate{p, err})
			}
			continue
		}
		return u, nil
	}
	return nil, nil
}

// errStateRow: a row that the contract wrote cannot be read.
var errStateRow = errors.New("membership record")

// maxReady bounds how many proposals for one config are looked at: members times
// what each may propose.
const maxReady = ledger.MaxMembers * record.MaxProposals

// approvedProposals lists the proposals for a sequence that have their approvals,
// those that had them first at the front.
func approvedProposals(view *state.View, seq uint64) ([]*record.Proposal, error) {
	prefix := record.ProposalIndexPrefix(seq)
	rows, err := view.Range(prefix, prefixEnd(prefix), maxReady)
	if err != nil {
		return nil, fmt.Errorf("read proposals of config %d: %w", seq, err)
	}
	var ready []*record.Proposal
	for _, row := range rows {
		hash, err := record.ParseHash(row.Key[len(prefix):])
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", errStateRow, row.Key, err)
		}
		p, err := loadRecord[record.Proposal](view, record.ProposalKey(hash))
		if err != nil {
			return nil, fmt.Errorf("%w of proposal %s: %w", errStateRow, hash, err)
		}
		if p.Status == record.ProposalOpen && p.Needed > 0 && p.Enough() {
			ready = append(ready, p)
		}
	}
	slices.SortFunc(ready, func(a, b *record.Proposal) int {
		if x, y := enoughAt(a), enoughAt(b); x != y {
			return int(min(max(x-y, -1), 1))
		}
		return bytes.Compare(a.ConfigHash[:], b.ConfigHash[:])
	})
	return ready, nil
}

// enoughAt is when the approval came that made them enough.
func enoughAt(p *record.Proposal) record.Millis {
	at := make([]record.Millis, len(p.Approvals))
	for i := range p.Approvals {
		at[i] = p.Approvals[i].At
	}
	slices.Sort(at)
	return at[p.Needed-1]
}

// updateOf builds the update of a proposal.
func (n *Node) updateOf(p *record.Proposal) (*ledger.Update, error) {
	kept, err := loadRecord[record.ProposedConfig](n.state.View(), record.ProposedConfigKey(p.ConfigHash))
	if err != nil {
		return nil, fmt.Errorf("%w of the config of proposal %s: %w", errStateRow, p.ConfigHash, err)
	}
	conf, err := ledger.DecodeConfig(kept.Config)
	if err != nil {
		return nil, err
	}
	u := &ledger.Update{ChainID: n.chainID, Config: conf}
	for _, a := range p.Approvals {
		x := ledger.Approval{Member: string(a.OrgID), Admin: a.Admin}
		if copy(x.Sig[:], a.Signature) != len(x.Sig) || len(a.Signature) != len(x.Sig) {
			return nil, fmt.Errorf("%w of proposal %s: approval of %s has %d bytes", errStateRow, p.ConfigHash, a.OrgID, len(a.Signature))
		}
		u.Approvals = append(u.Approvals, x)
	}
	return u, nil
}
