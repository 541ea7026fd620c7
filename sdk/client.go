package sdk

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// Client is a connection to a network through one or more nodes. It is safe for
// concurrent use and has goroutines only while calls are under way. Transactions
// that are submitted concurrently travel together, which costs client and node
// less than a call for each.
type Client struct {
	set     *settings
	chainID Hash
	trust   *trust
	nodes   []*endpoint
	sticky  [2]atomic.Int32 // by scope: index of the node that served last
	seen    atomic.Uint64   // highest height at which an own transaction was executed: later reads see it

	mu        sync.Mutex         // guards the fields below
	templates map[Hash]*Template // by code hash
	anchors   map[string]*Anchor // by state key; nil: proven that there is none
}

// Dial prepares a client for the nodes at endpoints (https://host:port, with
// #sha256=<pin> if each has its own) and asks until one of them answers for the
// pinned network. Nodes that cannot be reached now are tried again when needed.
func Dial(ctx context.Context, endpoints []string, opts ...Option) (*Client, error) {
	set, err := makeSettings(opts)
	if err != nil {
		return nil, err
	}
	if len(endpoints) == 0 || len(endpoints) > maxEndpoints {
		return nil, &ConfigError{What: fmt.Sprintf("%d endpoints", len(endpoints)), Remedy: fmt.Sprintf("Give 1 to %d.", maxEndpoints)}
	}
	c := &Client{set: set, chainID: set.chainID, templates: map[Hash]*Template{}, anchors: map[string]*Anchor{}}
	for _, raw := range endpoints {
		e, err := openEndpoint(raw, set)
		if err != nil {
			return nil, err
		}
		e.carrier = &carrier{c: c, e: e, took: firstTook}
		c.nodes = append(c.nodes, e)
	}
	if err := c.connect(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close drops idle connections. Calls under way end by their contexts.
func (c *Client) Close() {
	for _, e := range c.nodes {
		e.base.CloseIdleConnections()
	}
}

// ChainID names the network: the hash of its genesis config.
func (c *Client) ChainID() Hash { return c.chainID }

// Org returns the member in whose name the client acts; "" without identity and
// for a subject.
func (c *Client) Org() OrgID { return c.set.org }

// Key returns the address of the client's signing key, zero without identity.
func (c *Client) Key() Address {
	if c.set.signer == nil {
		return Address{}
	}
	return c.set.signer.Address()
}

// Genesis returns the config that founded the network.
func (c *Client) Genesis() *ledger.Config { return c.trust.genesis }

func (c *Client) connect(ctx context.Context) error {
	if err := c.pinNetwork(ctx); err != nil {
		return err
	}
	trust, err := newTrust(c.set)
	if err != nil {
		return err
	}
	c.trust = trust
	_, err = round(ctx, c, "connect", anyNode, func(ctx context.Context, e *endpoint) (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, c.set.timeouts.Call)
		defer cancel()
		return struct{}{}, e.learn(ctx, c)
	})
	if err != nil {
		return err
	}
	if c.set.signer != nil && len(c.nodes) > 1 { // which of them serve our own member
		var wg sync.WaitGroup
		for _, e := range c.nodes {
			if id, _ := e.identity(); id == "" {
				wg.Go(func() { c.learnQuietly(ctx, e) })
			}
		}
		wg.Wait()
	}
	return nil
}

func (c *Client) learnQuietly(ctx context.Context, e *endpoint) {
	ctx, cancel := context.WithTimeout(ctx, c.set.timeouts.Connect)
	defer cancel()
	if err := e.learn(ctx, c); err != nil {
		c.set.log.Info("node does not answer for this network yet", "node", e.url, "why", err)
	}
}

// pinNetwork makes sure that the genesis config is here, fetched if need be and
// held against the pinned chain id.
func (c *Client) pinNetwork(ctx context.Context) error {
	if c.set.genesis != nil {
		return nil
	}
	cfg, err := round(ctx, c, "fetch genesis config", anyNode, func(ctx context.Context, e *endpoint) (*ledger.Config, error) {
		ctx, cancel := context.WithTimeout(ctx, c.set.timeouts.Call)
		defer cancel()
		resp, err := e.ledger.GetGenesis(ctx, connect.NewRequest(&assentv1.GetGenesisRequest{}))
		if err != nil {
			return nil, err
		}
		cfg, err := ledger.DecodeConfig(resp.Msg.Config)
		if err != nil {
			return nil, &Untrusted{Node: e.url, What: "a genesis config", Cause: err}
		}
		if c.set.anyChain && c.chainID == (Hash{}) {
			return cfg, nil
		}
		if got := cfg.Hash(); got != c.chainID {
			return nil, &Untrusted{Node: e.url, What: "a genesis config", Cause: fmt.Errorf("it founds network %s, pinned is %s", got, c.chainID)}
		}
		return cfg, nil
	})
	if err != nil {
		return err
	}
	c.set.genesis, c.chainID = cfg, cfg.Hash()
	return nil
}

// saw remembers that a transaction of ours was executed at height, so that later
// reads of this client see it, whatever node serves them.
func (c *Client) saw(height uint64) {
	for {
		old := c.seen.Load()
		if height <= old || c.seen.CompareAndSwap(old, height) {
			return
		}
	}
}

// unsee forgets a height that no node reaches: the one that named it lied, and
// must not keep this client from reading.
func (c *Client) unsee(err error, least uint64) {
	if code := CodeOf(err); code == "NOT_EXECUTED" || code == "NOT_CERTIFIED" {
		c.seen.CompareAndSwap(least, 0)
	}
}

// Evaluate runs a read function of a contract and returns its canonical JSON. It
// sees every transaction that this client has seen executed. The answer is one
// node's word: Proofs shows what the ledger certifies.
func (c *Client) Evaluate(ctx context.Context, contract, function string, args ...string) ([]byte, error) {
	least := c.seen.Load()
	b, err := round(ctx, c, "read "+contract+"."+function, anyNode, func(ctx context.Context, e *endpoint) ([]byte, error) {
		return c.evaluateAt(ctx, e, least, contract, function, args...)
	})
	c.unsee(err, least)
	return b, err
}

// evaluateAt reads from one node, from a state that is the one after height
// least or a later one.
func (c *Client) evaluateAt(ctx context.Context, e *endpoint, least uint64, contract, function string, args ...string) ([]byte, error) {
	resp, err := try(ctx, c, e, c.set.timeouts.Call, &assentv1.EvaluateRequest{
		Contract: contract, Function: function, Args: args, MinHeight: least, WaitMs: millis(c.set.timeouts.Call/2, api.MaxWait),
	}, e.ledger.Evaluate)
	if err != nil {
		return nil, err
	}
	if resp.ExecutedHeight < least {
		return nil, &Untrusted{Node: e.url, What: "an answer from " + contract + "." + function,
			Cause: fmt.Errorf("it is from height %d, asked was %d or later", resp.ExecutedHeight, least)}
	}
	return resp.Payload, nil
}

func fromMillis(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }
