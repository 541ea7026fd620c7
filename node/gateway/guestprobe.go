package gateway

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// guestProbes is what guests may probe. A probe makes this node dial an address of
// the caller's choice, out of this member's own network: for guests only one that
// an open proposal names, which every member reads anyway, one at a time, so that
// the node's own admins wait for one at most.
type guestProbes struct {
	bucket *rate.Limiter
	one    sync.Mutex // held while a guest's probe runs
}

// Limits of all guests together. A proposal has few new validators, with at most
// four addresses each.
const (
	guestProbesPerSecond = 1
	guestProbesBurst     = 32
	// maxProposalsRead bounds what one probe of a guest makes this node read.
	maxProposalsRead = 60
)

func newGuestProbes() *guestProbes {
	return &guestProbes{bucket: rate.NewLimiter(guestProbesPerSecond, guestProbesBurst)}
}

// enter takes the guests' one place; leave gives it back.
func (g *guestProbes) enter(now time.Time) (leave func(), err error) {
	if !g.one.TryLock() {
		return nil, rateLimited(time.Second)
	}
	r := g.bucket.ReserveN(now, 1)
	if d := r.DelayFrom(now); d > 0 {
		r.CancelAt(now)
		g.one.Unlock()
		return nil, rateLimited(d)
	}
	return g.one.Unlock, nil
}

// mayProbe reports why a guest may not have an address probed.
func (s *Server) mayProbe(ctx context.Context, guest Caller, addr string, key ledger.HostKey) error {
	left := maxProposalsRead
	for bookmark := ""; left > 0; {
		var page record.ProposalPage
		if err := s.evaluateInto(ctx, guest, &page, "ListProposals", "0", strconv.Itoa(min(left, 20)), bookmark); err != nil {
			return err
		}
		for i := range page.Proposals {
			left--
			if page.Proposals[i].Status != record.ProposalOpen {
				continue
			}
			var kept record.ProposedConfig
			if err := s.evaluateInto(ctx, guest, &kept, "GetProposedConfig", page.Proposals[i].ConfigHash.Hex()); err != nil {
				return err
			}
			conf, err := ledger.DecodeConfig(kept.Config)
			if err == nil && slices.ContainsFunc(conf.Validators, func(v ledger.Validator) bool {
				return v.HostKey == key && slices.Contains(v.Addrs, addr)
			}) {
				return nil
			}
		}
		if bookmark = page.Bookmark; bookmark == "" {
			break
		}
	}
	return &api.Error{
		Code:   assentv1.Code_CODE_NOT_FOUND,
		What:   "no open proposal names a validator with this address and host key; for guests this node looks at no other",
		Remedy: "Have a member with a node of its own propose the change, or look at it once it is proposed.",
	}
}

// evaluateInto reads a record of the membership contract.
func (s *Server) evaluateInto(ctx context.Context, by Caller, into record.Record, function string, args ...string) error {
	payload, _, err := s.cfg.Reads.Evaluate(ctx, Call{Caller: by, Contract: record.ContractMembership, Function: function, Args: args})
	if err != nil {
		return err
	}
	return record.Decode(payload, into)
}
