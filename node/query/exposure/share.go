package exposure

import (
	"bytes"
	"fmt"

	"github.com/assent-network/assent/node/query/pair"
)

// Share is what one bank sends for one session. It tells nothing without the
// shares of all the others. Masks are commitments to the bank's masks, in the
// order of the other seats.
type Share struct {
	Session  Hash
	Seat     int
	Pledge   Pledge
	Value    Scalar // figure ± masks
	Blinding Scalar // blinding factor ± masks
	Masks    []Point
}

const shareVersion = 1

// shareSize is the length of an encoded share among n banks: version, session,
// seat, n, pledge, two scalars, n-1 points.
func shareSize(n int) int { return 1 + 32 + 2 + PledgeSize + 2*ScalarSize + (n-1)*PointSize }

// MaxShare is the length of the longest share.
const MaxShare = 1 + 32 + 2 + PledgeSize + 2*ScalarSize + (MaxBanks-1)*PointSize

// MakeShare makes a bank's share of a session. secrets are its pair secrets with
// the other seats, by seat; its own is not looked at. Making it again gives the
// same bytes. Errors: ErrSession if the pledge or opening is not the one that the
// session froze.
func MakeShare(s *Session, seat int, o Opening, p Pledge, secrets []pair.Secret) (Share, error) {
	if err := s.Check(); err != nil {
		return Share{}, err
	}
	if seat < 0 || seat >= len(s.Seats) || len(secrets) != len(s.Seats) {
		return Share{}, fmt.Errorf("%w: seat %d and %d pair secrets for %d banks", ErrSession, seat, len(secrets), len(s.Seats))
	}
	if p.Hash(s.pledgeContext(seat)) != s.Seats[seat].Pledge || !o.commitment().Equal(p.Point) {
		return Share{}, fmt.Errorf("%w: %s did not register this pledge", ErrSession, s.Seats[seat].Bank)
	}
	out := Share{Session: s.Digest(), Seat: seat, Pledge: p, Value: o.Value, Blinding: o.Blinding}
	for other := range s.Seats {
		if other == seat {
			continue
		}
		m := maskOf(secrets[other], out.Session, min(seat, other), max(seat, other))
		out.Masks = append(out.Masks, m.commitment())
		if other < seat {
			m.value, m.blinding = m.value.neg(), m.blinding.neg()
		}
		out.Value, out.Blinding = out.Value.add(m.value), out.Blinding.add(m.blinding)
	}
	return out, nil
}

// mask is the share's commitment to the mask with another seat.
func (h *Share) mask(other int) Point {
	if other > h.Seat {
		other--
	}
	return h.Masks[other]
}

// adds reports whether the share is pledge plus masks.
func (h *Share) adds() bool {
	want := h.Pledge.Point
	for i, m := range h.Masks {
		if i < h.Seat {
			m = m.neg()
		}
		want = want.add(m)
	}
	return pedersen(h.Value, h.Blinding).Equal(want)
}

// Bytes is the share's encoding: its length depends on the number of banks alone.
func (h *Share) Bytes() []byte {
	out := append([]byte{shareVersion}, h.Session[:]...)
	out = append(out, byte(h.Seat), byte(len(h.Masks)+1))
	out = append(out, h.Pledge.Bytes()...)
	out = append(append(out, h.Value.Bytes()...), h.Blinding.Bytes()...)
	for _, m := range h.Masks {
		out = append(out, m.Bytes()...)
	}
	return out
}

// DecodeShare reads a share's form: version, bounds, points of the group, reduced
// scalars, a proof's shape, and nothing after it. What it claims is for Combine.
func DecodeShare(b []byte) (Share, error) { return decodeShare(b, nil) }

// points are mask commitments that were decoded before. Both banks of a pair send
// the same one, and finding out that it is of the group is most of the work.
type points map[[PointSize]byte]Point

func (k points) decode(b []byte) (Point, error) {
	if len(b) == PointSize {
		if p, known := k[[PointSize]byte(b)]; known {
			return p, nil
		}
	}
	p, err := DecodePoint(b)
	if err == nil && k != nil {
		k[[PointSize]byte(b)] = p
	}
	return p, err
}

func decodeShare(b []byte, known points) (Share, error) {
	const head = 35
	if len(b) < head || len(b) > MaxShare {
		return Share{}, fmt.Errorf("%w: a share of %d bytes", ErrFormat, len(b))
	}
	if b[0] != shareVersion {
		return Share{}, fmt.Errorf("%w: a share of version %d, want %d", ErrFormat, b[0], shareVersion)
	}
	h := Share{Session: Hash(b[1:33]), Seat: int(b[33])}
	n := int(b[34])
	if n < MinBanks || n > MaxBanks || h.Seat >= n || len(b) != shareSize(n) {
		return Share{}, fmt.Errorf("%w: seat %d of %d in %d bytes", ErrFormat, h.Seat, n, len(b))
	}
	var err error
	r := bytes.NewBuffer(b[head:])
	if h.Pledge, err = DecodePledge(r.Next(PledgeSize)); err != nil {
		return Share{}, fmt.Errorf("pledge: %w", err)
	}
	if h.Value, err = DecodeScalar(r.Next(ScalarSize)); err != nil {
		return Share{}, fmt.Errorf("value: %w", err)
	}
	if h.Blinding, err = DecodeScalar(r.Next(ScalarSize)); err != nil {
		return Share{}, fmt.Errorf("blinding: %w", err)
	}
	for range n - 1 {
		m, err := known.decode(r.Next(PointSize))
		if err != nil {
			return Share{}, fmt.Errorf("mask %d: %w", len(h.Masks), err)
		}
		h.Masks = append(h.Masks, m)
	}
	return h, nil
}
