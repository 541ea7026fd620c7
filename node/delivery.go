package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/query"
)

// A response of the sealed and answer protocols is one byte and, after
// replyRejected, the reason.
const (
	replyTaken    = 0 // on the receiver's disk
	replyRejected = 1 // never: do not try again
)

// send delivers one outbox item and returns nil once its recipient has it on
// disk.
func (n *Node) send(ctx context.Context, it outbox.Item) error {
	switch it.Kind {
	case outbox.SealedPart:
		if err := n.maySendPart(it); err != nil {
			return err
		}
		return n.sendTo(ctx, network.ProtocolSealed, it)
	case outbox.Count:
		return n.sendTo(ctx, network.ProtocolSealed, it)
	case outbox.Answer:
		return n.sendTo(ctx, network.ProtocolAnswer, it)
	case outbox.Receipt:
		return n.submitReceipt(ctx, it)
	}
	return fmt.Errorf("send %s: %w: unknown kind", it.ID, outbox.ErrRejected)
}

func (n *Node) sendTo(ctx context.Context, p network.Protocol, it outbox.Item) error {
	if it.Recipient == n.member { // both sides of it are ours
		return n.take(ctx, p, n.member, it.Payload)
	}
	peer, ok := n.dir.answering(it.Recipient)
	if !ok {
		return fmt.Errorf("%w: member %s has no node that takes sealed parts and answers: its admin must register one", outbox.ErrNotSent, it.Recipient)
	}
	reply, err := n.host.Request(ctx, peer, p, it.Payload)
	switch {
	case err != nil && notSent(err):
		return fmt.Errorf("%w: %w", outbox.ErrNotSent, err)
	case err != nil:
		return err
	case len(reply) == 1 && reply[0] == replyTaken:
		return nil
	case len(reply) > 0 && reply[0] == replyRejected:
		return fmt.Errorf("%w: %s", outbox.ErrRejected, network.CleanErrorText(string(reply[1:])))
	}
	return fmt.Errorf("peer %s answered %d bytes that mean nothing", peer, len(reply))
}

// take is the receiving side of both protocols. An error may pass; outbox.
// ErrRejected never does.
func (n *Node) take(ctx context.Context, p network.Protocol, from string, payload []byte) error {
	if p == network.ProtocolAnswer {
		return n.takeAnswer(ctx, from, payload)
	}
	if n.answerer == nil {
		return errors.New("this node does not answer for its member")
	}
	if id, share, ok := splitCount(payload); ok {
		return n.takeCount(ctx, from, id, share)
	}
	if err := n.mayKeepPart(payload); err != nil {
		return err
	}
	err := n.answerer.StorePart(ctx, record.OrgID(from), payload)
	if s, bad := answer.DecodeSealedPart(payload); bad == nil && err == nil {
		n.pledger.hint(s.Context.ConsentID)
	}
	if errors.Is(err, query.ErrPart) {
		return fmt.Errorf("%w: %w", outbox.ErrRejected, err)
	}
	return err
}

// takeAnswer keeps a sealed answer for the member's own client. Only the provider
// whom the ledger names may answer a request, and only a permitted one.
func (n *Node) takeAnswer(ctx context.Context, from string, payload []byte) error {
	s, err := answer.DecodeSealed(payload)
	if err != nil {
		return fmt.Errorf("%w: %w", outbox.ErrRejected, err)
	}
	r, err := loadRecord[record.Request](n.state.View(), record.RequestKey(s.RequestID))
	if errors.Is(err, errNoRecord) {
		return fmt.Errorf("request %s is not executed here yet", s.RequestID) // this node may be behind
	}
	if err != nil {
		return err
	}
	if string(r.Provider) != from || string(r.Consumer) != n.member || r.Decision != record.Permit {
		return fmt.Errorf("%w: request %s does not permit %s to answer here", outbox.ErrRejected, s.RequestID, from)
	}
	if err := n.mayKeepAnswer(r.ConsentID); err != nil {
		return err
	}
	err = n.inbox.Store(ctx, outbox.Received{
		RequestID: string(s.RequestID), From: from, Payload: payload,
		Expires: time.UnixMilli(r.Deadline).Add(keepAnswers),
	})
	if errors.Is(err, outbox.ErrConflict) {
		return fmt.Errorf("%w: %w", outbox.ErrRejected, err)
	}
	return err
}

// keepAnswers is how long after its deadline an answer waits for its client.
const keepAnswers = 24 * time.Hour

// serve answers the sealed and answer protocols.
func (n *Node) serve(p network.Protocol) func(context.Context, network.PeerID, []byte) ([]byte, error) {
	return func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error) {
		member, ok := n.dir.member(from)
		if !ok {
			return nil, errors.New("not a member's node")
		}
		err := n.take(ctx, p, member, req)
		switch {
		case errors.Is(err, outbox.ErrRejected):
			return append([]byte{replyRejected}, network.CleanErrorText(err.Error())...), nil
		case err != nil:
			return nil, err
		}
		return []byte{replyTaken}, nil
	}
}

// submitReceipt puts a receipt on the ledger and waits for its outcome.
func (n *Node) submitReceipt(ctx context.Context, it outbox.Item) error {
	code, err := n.submitOwn(ctx, it.ID, record.ContractAccess, "Receipt", it.Payload)
	if err != nil {
		return fmt.Errorf("receipt %s: %w", it.ID, err)
	}
	switch code {
	case record.OK, record.CodeAlreadyExists, record.CodeDuplicate:
		return nil // it stands on the ledger
	case record.CodeWrongState:
		// An OVERDUE that the block's time did not allow yet: clocks differ.
		return fmt.Errorf("receipt %s: the ledger takes it only later: %s", it.ID, code)
	}
	n.log.Error("the ledger refuses a receipt of this node: check that its transaction key is registered (assent member node)", "item", it.ID, "code", code)
	return fmt.Errorf("receipt %s: the ledger refuses it with %s", it.ID, code)
}
