package bft

import (
	"bytes"
	"encoding/binary"
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
		sigs = append(sigs, smart.Signature{ID: uint64(v.Replica), Value: sealVote(d.View, v.Signature)})
	}
	return toLibrary(d.Proposal), sigs
}

// The library knows of a vote only the view in which its proposal was made. A vote
// for a proposal that a view change took over says besides in which view it was
// cast, in what the library takes for a signature:
//
//	view (8 bytes, big endian) || App.SignVote(proposal, view)
const voteViewLen = 8

func sealVote(view uint64, signature []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, voteViewLen+len(signature)), view), signature...)
}

// openVote is the inverse of sealVote; it checks no signature.
func openVote(value []byte) (view uint64, signature []byte, err error) {
	if len(value) <= voteViewLen {
		return 0, nil, fmt.Errorf("vote of %d bytes: no view and signature", len(value))
	}
	return binary.BigEndian.Uint64(value), value[voteViewLen:], nil
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
