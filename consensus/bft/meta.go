package bft

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// meta is what the library's metadata of a proposal say.
type meta struct {
	view   uint64
	height uint64
	// decisions is the number of decisions made in view before this one.
	decisions uint64
}

// noDecisions as meta.decisions says that the next decision is the first in
// its view: the library adds 1.
const noDecisions = math.MaxUint64

// enter moves on to a later view, in which nothing is decided yet.
func (m *meta) enter(view uint64) {
	if view > m.view {
		m.view, m.decisions = view, noDecisions
	}
}

// maxMeta is more than the longest metadata without rotation: three integers.
const maxMeta = 64

// parseMeta accepts exactly the bytes that a correct leader produces, so that
// equal metadata have equal bytes.
func parseMeta(raw []byte) (meta, error) {
	if len(raw) > maxMeta {
		return meta{}, fmt.Errorf("engine metadata of %d bytes exceed %d", len(raw), maxMeta)
	}
	m := &pb.ViewMetadata{}
	if err := proto.Unmarshal(raw, m); err != nil {
		return meta{}, fmt.Errorf("decode engine metadata: %w", err)
	}
	if len(m.GetBlackList()) > 0 || len(m.GetPrevCommitSignatureDigest()) > 0 {
		return meta{}, errors.New("engine metadata of leader rotation, which is off")
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return meta{}, fmt.Errorf("encode engine metadata: %w", err)
	}
	if !bytes.Equal(raw, again) || len(m.ProtoReflect().GetUnknown()) > 0 {
		return meta{}, errors.New("engine metadata are not canonical")
	}
	if m.GetLatestSequence() == 0 {
		return meta{}, errors.New("engine metadata without a height")
	}
	return meta{view: m.GetViewId(), height: m.GetLatestSequence(), decisions: m.GetDecisionsInView()}, nil
}

// metaOf reads the metadata of a stored decision; zero for genesis.
func metaOf(d consensus.Decision) (meta, error) {
	p := d.Proposal
	if p.Height == 0 {
		if len(p.Meta) > 0 || len(p.Header) > 0 || len(p.Payload) > 0 {
			return meta{}, errors.New("decision without a height is not the empty one of genesis")
		}
		return meta{}, nil
	}
	m, err := parseMeta(p.Meta)
	if err != nil {
		return meta{}, err
	}
	if m.height != p.Height {
		return meta{}, fmt.Errorf("decision at height %d carries engine metadata of height %d", p.Height, m.height)
	}
	return m, nil
}

// fromLibrary converts a proposal whose metadata parse.
func fromLibrary(p smart.Proposal) (consensus.Proposal, error) {
	m, err := parseMeta(p.Metadata)
	if err != nil {
		return consensus.Proposal{}, err
	}
	if p.VerificationSequence < 0 {
		return consensus.Proposal{}, errors.New("configuration number out of range")
	}
	return consensus.Proposal{
		Height:    m.height,
		ConfigSeq: uint64(p.VerificationSequence),
		Header:    p.Header,
		Payload:   p.Payload,
		Meta:      p.Metadata,
	}, nil
}

func toLibrary(p consensus.Proposal) smart.Proposal {
	return smart.Proposal{
		Payload:              emptyIsNil(p.Payload),
		Header:               emptyIsNil(p.Header),
		Metadata:             emptyIsNil(p.Meta),
		VerificationSequence: int64(p.ConfigSeq),
	}
}

// emptyIsNil matters for genesis: the library tells it by nil metadata.
func emptyIsNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func toLibraryDecision(d consensus.Decision) (smart.Proposal, []smart.Signature) {
	sigs := make([]smart.Signature, 0, len(d.Votes))
	for _, v := range d.Votes {
		sigs = append(sigs, smart.Signature{ID: uint64(v.Replica), Value: v.Signature})
	}
	return toLibrary(d.Proposal), sigs
}

func fromLibraryInfo(i smart.RequestInfo) consensus.RequestInfo {
	return consensus.RequestInfo{Client: i.ClientID, ID: i.ID}
}

func toLibraryInfo(i consensus.RequestInfo) smart.RequestInfo {
	return smart.RequestInfo{ClientID: i.Client, ID: i.ID}
}

func toLibraryInfos(infos []consensus.RequestInfo) []smart.RequestInfo {
	out := make([]smart.RequestInfo, len(infos))
	for i, info := range infos {
		out[i] = toLibraryInfo(info)
	}
	return out
}
