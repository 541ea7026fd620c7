package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"

	"github.com/assent-network/assent/node/console"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/ledger"
)

// ID returns the node's network identity.
func (n *Node) ID() string { return string(n.host.ID()) }

// Height returns the newest block's height.
func (n *Node) Height() ledger.Height { return n.store.Tip().Height }

// APIAddr returns the address at which clients are served, with the real port
// where the configuration said 0.
func (n *Node) APIAddr() string { return n.gateway.Addr().String() }

func (n *Node) openAPI(ctx context.Context) error {
	err := n.private.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(createParts)
		return err
	})
	if err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	certificate, err := gateway.SelfSigned(n.secrets.tls, n.cfg.API.Names)
	if err != nil {
		return err
	}
	b := &backend{Node: n, probing: make(chan struct{}, 1), events: newEventLog()}
	l := n.cfg.Limits
	cfg := gateway.Config{
		Listen: n.cfg.API.Listen, Certificate: certificate,
		NodeID: n.ID(), Member: n.member, Guests: n.cfg.API.Guests, Software: n.version,
		Clients: b, Transactions: b, Reads: b, Proofs: b, Blocks: b, Events: b, Delivery: b, Node: b, Network: b,
		Limits: gateway.Limits{
			ClientRate: l.ClientRate, ClientBurst: l.ClientBurst, AnonymousRate: l.AnonymousRate,
			ClientStreams: l.ClientStreams, MemberRate: l.MemberRate, MemberCalls: l.MemberCalls, MemberBytes: l.MemberBytes,
			EventStreams: l.EventStreams, EventBytes: l.EventBytes, Connections: l.Connections, PerAddress: l.PerAddress, RequestTimeout: l.RequestTimeout,
		},
		Bind: n.opts.Listen, Clock: n.opts.Clock, Logger: n.log, Observe: n.countCall,
	}
	if n.answerer != nil {
		cfg.Provider = b
	}
	if !n.cfg.API.NoConsole {
		cfg.ConsolePath = console.Path
		if cfg.Console, err = n.newConsole(b); err != nil {
			return err
		}
	}
	if n.gateway, err = gateway.Open(ctx, cfg); err != nil {
		return err
	}
	n.closeLater(func() error {
		if err := n.gateway.Close(); !errors.Is(err, net.ErrClosed) { // after Run it is closed
			return err
		}
		return nil
	})
	return nil
}

func (n *Node) runAPI(ctx context.Context) error { return n.gateway.Run(ctx) }
