package sdk

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/assent-network/assent/chaincode/record"
)

// UseList is every request ever made under a consent, permitted or denied, and
// the proof that none is missing.
type UseList struct {
	Consent ConsentID
	Uses    []AccessRequest // in the order of the usage chain
	Usage   Usage           // the certified account; zero if there was no request
	Height  uint64          // the list is complete as of the state after this height

	Proof *ProvenRecord
}

// Uses returns the complete list of requests under a consent. The ledger keeps
// the head of a hash chain over all of them; the list is held against it, so a
// node that leaves out, adds or alters one request is found out. The list is
// complete as of its Height, the newest that the node has a certificate for.
func (c *Client) Uses(ctx context.Context, id ConsentID) (*UseList, error) {
	return c.UsesSince(ctx, id, 0)
}

// UsesSince is Uses as of height or later; it waits for the certificate.
func (c *Client) UsesSince(ctx context.Context, id ConsentID, height uint64) (*UseList, error) {
	if err := checkConsentID(id); err != nil {
		return nil, err
	}
	p, err := c.Proofs().RecordSince(ctx, record.UsageKey(id), height)
	if err != nil {
		return nil, err
	}
	list := &UseList{Consent: id, Height: p.Height, Proof: p}
	if !p.Present {
		return list, nil // provably never asked for
	}
	u, err := record.Load[record.Usage](p.Value)
	if err != nil {
		return nil, err
	}
	if u.ConsentID != id {
		return nil, &Untrusted{Node: "the node", What: "a usage record", Cause: errors.New("it is of another consent")}
	}
	list.Usage = *u
	list.Uses, err = round(ctx, c, "uses of "+string(id), anyNode, func(ctx context.Context, e *endpoint) ([]AccessRequest, error) {
		uses, err := c.requests(ctx, e, id, u.Requests, p.Height)
		if err != nil {
			return nil, err
		}
		if err := checkChain(u, uses); err != nil {
			return nil, &Untrusted{Node: e.url, What: "the list of uses of " + string(id), Cause: err}
		}
		return uses, nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// requests reads the first n requests of a consent's usage chain from one node.
func (c *Client) requests(ctx context.Context, e *endpoint, id ConsentID, n, height uint64) ([]AccessRequest, error) {
	var out []AccessRequest
	for bookmark := ""; uint64(len(out)) < n; {
		b, err := c.evaluateAt(ctx, e, height, record.ContractAccess, "ListByConsent",
			string(id), strconv.Itoa(record.MaxPage), bookmark)
		if err != nil {
			return nil, err
		}
		page, err := record.Load[record.RequestPage](b)
		if err != nil {
			return nil, &Untrusted{Node: e.url, What: "a page of requests", Cause: err}
		}
		out = append(out, page.Requests...)
		if page.Bookmark == "" || len(page.Requests) == 0 {
			break
		}
		bookmark = page.Bookmark
	}
	return out[:min(n, uint64(len(out)))], nil
}

// checkChain recomputes the usage chain over uses and holds it against the
// certified head.
func checkChain(u *Usage, uses []AccessRequest) error {
	if uint64(len(uses)) != u.Requests {
		return fmt.Errorf("it has %d requests, the ledger certifies %d", len(uses), u.Requests)
	}
	var head Hash
	permits := uint64(0)
	for i := range uses {
		r := &uses[i]
		if r.Sequence != uint64(i+1) || r.ConsentID != u.ConsentID {
			return fmt.Errorf("request %d of the list is out of place", i+1)
		}
		b, err := record.Encode(r)
		if err != nil {
			return err
		}
		head = record.NextHead(head, b)
		if r.Decision == record.Permit {
			permits++
		}
	}
	if head != u.Head {
		return errors.New("its hash chain does not end at the certified head: a request is missing, added or altered")
	}
	if permits != u.Uses {
		return fmt.Errorf("it has %d permits, the ledger certifies %d", permits, u.Uses)
	}
	return nil
}
