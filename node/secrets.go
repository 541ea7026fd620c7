package node

import (
	"crypto/ecdsa"
	"fmt"

	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// secrets are the node's unlocked keys. Nothing prints them.
type secrets struct {
	host *ecdsa.PrivateKey
	tls  *ecdsa.PrivateKey
	vote ledger.Signer // nil on an observer
	data dataKeys
	tag  []byte // secret of the subject tags, on nodes that answer
}

func (secrets) String() string   { return "[keys]" }
func (secrets) GoString() string { return "[keys]" }

func (n *Node) openKeys(password keys.Password) error {
	id := &n.cfg.Identity
	s, err := keys.Open(id.KeysDir)
	if err != nil {
		return err
	}
	unlock := func(name string, use func([]byte) error) error {
		pw, err := password(name)
		if err != nil {
			return err
		}
		defer clear(pw)
		return use(pw)
	}
	steps := []struct {
		name string
		use  func(pw []byte) error
	}{
		{id.HostKey, func(pw []byte) (err error) { n.secrets.host, err = s.Host(id.HostKey, pw); return err }},
		{id.TLSKey, func(pw []byte) (err error) { n.secrets.tls, err = s.TLS(id.TLSKey, pw); return err }},
		{id.TxKey, func(pw []byte) (err error) { n.txKey, err = s.Signer(id.TxKey, keys.Client, pw); return err }},
	}
	if id.Node == "validator" {
		steps = append(steps, struct {
			name string
			use  func(pw []byte) error
		}{id.VoteKey, func(pw []byte) (err error) { n.secrets.vote, err = s.Signer(id.VoteKey, keys.Vote, pw); return err }})
	}
	for _, step := range steps {
		if err := unlock(step.name, step.use); err != nil {
			return err
		}
	}
	if !n.cfg.Answering.Enabled {
		return nil
	}
	n.secrets.data = make(dataKeys)
	for _, name := range id.DataKeys {
		err := unlock(name, func(pw []byte) error {
			k, err := s.Data(name, pw)
			if err != nil {
				return err
			}
			key, err := answer.ParsePrivateKey(k.Bytes())
			if err != nil {
				return fmt.Errorf("data key %q: %w", name, err)
			}
			n.secrets.data[answer.KeyID(k.PublicKey().Bytes())] = key
			return nil
		})
		if err != nil {
			return err
		}
	}
	return unlock(tagKey, func(pw []byte) error {
		k, err := s.Data(tagKey, pw)
		if err != nil {
			return err
		}
		n.secrets.tag = k.Bytes()
		return nil
	})
}
