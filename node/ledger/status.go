package ledger

import "fmt"

// Status is where a node stands, said to somebody who sent a nonce. From a
// quorum of validators it proves how fresh the asker's own view is: a block that
// was certified before the nonce was sent had the votes of a quorum, so that one
// honest validator in every quorum names its height in Voted.
type Status struct {
	ChainID Hash
	Nonce   Hash    // as asked
	Height  Height  // of the node's highest certified block
	Header  Hash    // its hash
	Voted   Height  // highest height the node has voted for, at least Height
	Key     Address // signer; zero and unsigned from a node without vote key
	Sig     Signature
}

type statusBody struct {
	Domain  string
	ChainID Hash
	Nonce   Hash
	Height  Height
	Header  Hash
	Voted   Height
	Key     Address
}

type statusRLP struct {
	Body statusBody
	Sig  Signature
}

func (s *Status) body() statusBody {
	return statusBody{domainStatus, s.ChainID, s.Nonce, s.Height, s.Header, s.Voted, s.Key}
}

// Digest returns what the node signs: keccak256(RLP [domain, chainID, nonce,
// height, header, voted, key]).
func (s *Status) Digest() Hash { b := s.body(); return hashOf(&b) }

// Sign fills in Key and Sig.
func (s *Status) Sign(vote Signer) error {
	s.Key = vote.Address()
	sig, err := vote.Sign(s.Digest())
	if err != nil {
		return fmt.Errorf("sign status at height %d: %w", s.Height, err)
	}
	s.Sig = sig
	return nil
}

// Encode returns RLP [[domain, chainID, nonce, height, header, voted, key],
// signature].
func (s *Status) Encode() []byte { return mustEncode(&statusRLP{s.body(), s.Sig}) }

// DecodeStatus reads an encoded status; it does not check the signature.
func DecodeStatus(b []byte) (*Status, error) {
	var r statusRLP
	if err := decode("status", b, 512, &r); err != nil {
		return nil, err
	}
	if err := wantDomain("status", r.Body.Domain, domainStatus); err != nil {
		return nil, err
	}
	return &Status{r.Body.ChainID, r.Body.Nonce, r.Body.Height, r.Body.Header, r.Body.Voted, r.Body.Key, r.Sig}, nil
}

// Verify reports why s is not the answer of validator of current to nonce. An
// honest validator votes for one block above its highest at most; a status that
// says more is refused.
func (s *Status) Verify(chain, nonce Hash, current *Config, validator uint64) error {
	v := current.Validator(validator)
	switch {
	case s.ChainID != chain:
		return fmt.Errorf("status: %w", ErrWrongChain)
	case s.Nonce != nonce:
		return fmt.Errorf("status: it answers nonce %s, asked was %s", s.Nonce, nonce)
	case v == nil:
		return fmt.Errorf("status: %d is not a validator of config %d", validator, current.Seq)
	case s.Key != v.VoteKey:
		return fmt.Errorf("status: signed by %s, the vote key of validator %d is %s", s.Key, validator, v.VoteKey)
	case s.Voted < s.Height || s.Voted-s.Height > 1:
		return fmt.Errorf("status: voted height %d with the highest block at %d: no honest validator says so", s.Voted, s.Height)
	}
	if err := VerifySignature(s.Digest(), s.Sig, s.Key); err != nil {
		return fmt.Errorf("status of validator %d: %w", validator, err)
	}
	return nil
}
