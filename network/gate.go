package network

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// members is the admitted set; immutable, replaced as a whole by SetPeers.
type members struct {
	byID map[PeerID]*remote
	byPI map[peer.ID]*remote
}

// gate is libp2p's connection gater over the admitted set. libp2p calls it on
// its own goroutines, several times per connection.
//
// A trap for whoever dials: a refusal by the other side comes after our own
// handshake is complete, so dialling succeeds and the connection dies a moment
// later. That is why a dialled connection counts only after a ping came back.
type gate struct {
	open    atomic.Bool // false before Run and after its end: nobody is admitted
	members atomic.Pointer[members]
}

var _ connmgr.ConnectionGater = (*gate)(nil)

func newGate() *gate {
	g := &gate{}
	g.members.Store(&members{})
	return g
}

// remote returns the admitted peer behind a libp2p id, or nil.
func (g *gate) remote(p peer.ID) *remote {
	if !g.open.Load() {
		return nil
	}
	return g.members.Load().byPI[p]
}

func (g *gate) InterceptPeerDial(p peer.ID) bool                 { return g.remote(p) != nil }
func (g *gate) InterceptAddrDial(p peer.ID, _ ma.Multiaddr) bool { return g.remote(p) != nil }

// InterceptAccept sees an address only, which proves nothing: the decision
// falls when the handshake has shown the key.
func (g *gate) InterceptAccept(lnet.ConnMultiaddrs) bool { return g.open.Load() }

func (g *gate) InterceptSecured(_ lnet.Direction, p peer.ID, _ lnet.ConnMultiaddrs) bool {
	return g.remote(p) != nil
}

func (g *gate) InterceptUpgraded(c lnet.Conn) (bool, control.DisconnectReason) {
	return g.remote(c.RemotePeer()) != nil, 0
}
