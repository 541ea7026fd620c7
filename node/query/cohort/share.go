package cohort

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/assent-network/assent/node/query/pair"
)

// Round of a session.
type Round uint8

// The rounds: first the count, among the banks; then the figures, to the lender.
const (
	CountRound   Round = 1
	FiguresRound Round = 2
)

// Share is what one bank sends in one round. It tells nothing without the shares of
// all the others. Seeds are commitments to what its masks are drawn from, in the
// order of the other seats. Views, of the second round, are the digests of all
// banks' first shares as this bank got them, by seat.
type Share struct {
	Session Hash
	Round   Round
	Seat    int
	Seeds   []Hash
	Values  []uint64
	Views   []Hash
}

const shareVersion = 1

// MaxCells bounds the numbers of a share.
const MaxCells = MaxStatistics * (MaxCuts + 1)

// shareHead is version, session, round, seat, number of banks, number of values.
const shareHead = 1 + 32 + 1 + 1 + 1 + 2

// MaxShare is the length of the longest share.
const MaxShare = shareHead + (MaxBanks-1)*32 + 8*MaxCells + MaxBanks*32

// MakeCount makes a bank's share of the first round, for the other banks: its count
// with its part of the noise under its masks. secrets are its pair secrets with the
// other seats, by seat; its own is not looked at. Made again it has other noise, and
// both together tell more than was paid for: its caller keeps what it made.
func MakeCount(s *Session, seat int, t *Tally, n *Noiser, secrets []pair.Secret) (Share, error) {
	if err := s.admits(seat, t, secrets); err != nil {
		return Share{}, err
	}
	return s.hide(CountRound, seat, []int64{t.count + n.share(s.Plan.rate(0))}, secrets), nil
}

// MakeFigures makes a bank's share of the second round, for the lender, once the
// bank has decided that the cohort is large enough: ErrTooFew if it is not. As with
// MakeCount, its caller keeps what it made.
func MakeFigures(s *Session, seat int, t *Tally, n *Noiser, secrets []pair.Secret, d *Decision) (Share, error) {
	if d.session == s.Digest() && !d.Released {
		return Share{}, ErrTooFew // before anything is drawn
	}
	h, err := MaskFigures(s, seat, t, n, secrets)
	if err != nil {
		return Share{}, err
	}
	return Release(s, h, d)
}

// MaskFigures makes a bank's share of the second round before anything is decided, so
// that both shares come of one pass over its customers and are kept together. Its
// views are zero: it is nothing to send before Release.
func MaskFigures(s *Session, seat int, t *Tally, n *Noiser, secrets []pair.Secret) (Share, error) {
	if err := s.admits(seat, t, secrets); err != nil {
		return Share{}, err
	}
	noised := make([]int64, 0, len(t.cells))
	for i := range s.Plan.Statistics {
		for range s.Plan.Statistics[i].cells() {
			noised = append(noised, t.cells[len(noised)]+n.share(s.Plan.rate(i+1)))
		}
	}
	h := s.hide(FiguresRound, seat, noised, secrets)
	h.Views = make([]Hash, len(s.Seats))
	return h, nil
}

// Release makes what MaskFigures made ready to leave: ErrTooFew if the cohort is too
// small, ErrSession for a share or a decision of another session.
func Release(s *Session, h Share, d *Decision) (Share, error) {
	digest := s.Digest()
	switch {
	case d.session != digest || h.Session != digest || h.Round != FiguresRound:
		return Share{}, fmt.Errorf("%w: the decision or the share is of another one", ErrSession)
	case !d.Released:
		return Share{}, ErrTooFew
	}
	h.Views = append([]Hash(nil), d.views...)
	return h, nil
}

func (s *Session) admits(seat int, t *Tally, secrets []pair.Secret) error {
	if err := s.Check(); err != nil {
		return err
	}
	if seat < 0 || seat >= len(s.Seats) || len(secrets) != len(s.Seats) {
		return fmt.Errorf("%w: seat %d and %d pair secrets for %d banks", ErrSession, seat, len(secrets), len(s.Seats))
	}
	if string(t.plan.bytes()) != string(s.Plan.bytes()) {
		return fmt.Errorf("%w: the tally is of another plan", ErrSession)
	}
	return nil
}

// hide puts a seat's masks over its numbers: of each pair the first adds them, the
// other takes them away.
func (s *Session) hide(round Round, seat int, values []int64, secrets []pair.Secret) Share {
	out := Share{Session: s.Digest(), Round: round, Seat: seat, Values: make([]uint64, len(values))}
	for i, v := range values {
		out.Values[i] = uint64(v)
	}
	for other := range s.Seats {
		if other == seat {
			continue
		}
		seed := SeedOf(secrets[other], out.Session, seat, other)
		out.Seeds = append(out.Seeds, seed.hash())
		for i, m := range seed.masks(place(round), len(values)) {
			out.Values[i] += signed(m, seat, other)
		}
	}
	return out
}

// place of a round's numbers among a pair's masks.
func place(r Round) int {
	if r == CountRound {
		return 0
	}
	return 1
}

// signed is a mask as a seat adds it.
func signed(mask uint64, seat, other int) uint64 {
	if other < seat {
		return -mask
	}
	return mask
}

// seed is the share's commitment to the seed with another seat.
func (h *Share) seed(other int) Hash {
	if other > h.Seat {
		other--
	}
	return h.Seeds[other]
}

// Bytes is the share's encoding: its length depends on the numbers of banks and
// cells alone.
func (h *Share) Bytes() []byte {
	out := append([]byte{shareVersion}, h.Session[:]...)
	out = append(out, byte(h.Round), byte(h.Seat), byte(len(h.Seeds)+1))
	out = binary.BigEndian.AppendUint16(out, uint16(len(h.Values)))
	for i := range h.Seeds {
		out = append(out, h.Seeds[i][:]...)
	}
	for _, v := range h.Values {
		out = binary.BigEndian.AppendUint64(out, v)
	}
	for i := range h.Views {
		out = append(out, h.Views[i][:]...)
	}
	return out
}

// digest names a share's bytes in other banks' views.
func digest(share []byte) Hash { return sha256.Sum256(join(domainShare, share)) }

// DecodeShare reads a share's form: version, round, bounds, and nothing after it.
// What it claims is for Decide and Combine. Errors: ErrFormat.
func DecodeShare(b []byte) (Share, error) {
	if len(b) < shareHead || len(b) > MaxShare {
		return Share{}, fmt.Errorf("%w: a share of %d bytes", ErrFormat, len(b))
	}
	if b[0] != shareVersion {
		return Share{}, fmt.Errorf("%w: a share of version %d, want %d", ErrFormat, b[0], shareVersion)
	}
	h := Share{Session: Hash(b[1:33]), Round: Round(b[33]), Seat: int(b[34])}
	n, cells := int(b[35]), int(binary.BigEndian.Uint16(b[36:38]))
	views := 0
	if h.Round == FiguresRound {
		views = n
	}
	switch {
	case h.Round != CountRound && h.Round != FiguresRound:
		return Share{}, fmt.Errorf("%w: round %d", ErrFormat, h.Round)
	case n < MinBanks || n > MaxBanks || h.Seat >= n:
		return Share{}, fmt.Errorf("%w: seat %d of %d", ErrFormat, h.Seat, n)
	case cells > MaxCells || h.Round == CountRound && cells != 1:
		return Share{}, fmt.Errorf("%w: %d numbers in round %d", ErrFormat, cells, h.Round)
	case len(b) != shareHead+32*(n-1)+8*cells+32*views:
		return Share{}, fmt.Errorf("%w: %d bytes for %d banks and %d numbers", ErrFormat, len(b), n, cells)
	}
	b = b[shareHead:]
	for range n - 1 {
		h.Seeds, b = append(h.Seeds, Hash(b[:32])), b[32:]
	}
	for range cells {
		h.Values, b = append(h.Values, binary.BigEndian.Uint64(b)), b[8:]
	}
	for range views {
		h.Views, b = append(h.Views, Hash(b[:32])), b[32:]
	}
	return h, nil
}
