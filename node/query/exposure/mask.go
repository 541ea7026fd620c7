package exposure

import "github.com/assent-network/assent/node/query/pair"

// mask hides one pair's contribution to both their shares: the bank that comes
// first adds it, the other takes it away.
type mask struct{ value, blinding Scalar }

func (m mask) commitment() Point { return pedersen(m.value, m.blinding) }

// maskOf derives a pair's mask for a session: 128 bytes, bound to the session's
// digest and the two seats.
func maskOf(s pair.Secret, session Hash, first, second int) mask {
	okm := s.Derive(session[:], string(join(domainMask, []byte{byte(first), byte(second)})), 128)
	return mask{wideScalar([64]byte(okm[:64])), wideScalar([64]byte(okm[64:]))}
}
