package node

import (
	"crypto/ecdsa"
	"fmt"

	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// secrets are the node's unlocked keys. Nothing prints them.
type secrets struct {
	hosts []*ecdsa.PrivateKey // network identities, the one to come last
	tls   *ecdsa.PrivateKey
	votes []ledger.Signer // none on an observer; the one to come last
	data  dataKeys
	tag   []byte // secret of the subject tags, on nodes that answer
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
	type step struct {
		name string
		use  func(pw []byte) error
	}
	var steps []step
	for _, name := range hostKeys(id) {
		steps = append(steps, step{name, func(pw []byte) error {
			k, err := s.Host(name, pw)
			n.secrets.hosts = append(n.secrets.hosts, k)
			return err
		}})
	}
	steps = append(steps,
		step{id.TLSKey, func(pw []byte) (err error) { n.secrets.tls, err = s.TLS(id.TLSKey, pw); return err }},
		step{id.TxKey, func(pw []byte) (err error) { n.txKey, err = s.Signer(id.TxKey, keys.Client, pw); return err }},
	)
	for _, name := range voteKeys(id) {
		steps = append(steps, step{name, func(pw []byte) error {
			k, err := s.Signer(name, keys.Vote, pw)
			n.secrets.votes = append(n.secrets.votes, k)
			return err
		}})
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

// voteKeys names the keys with which a node may vote.
func voteKeys(id *config.Identity) []string {
	if id.Node != "validator" {
		return nil
	}
	return named(id.VoteKey, id.NextVote)
}

// hostKeys names the keys of a node's network identities.
func hostKeys(id *config.Identity) []string { return named(id.HostKey, id.NextHost) }

func named(now, next string) []string {
	if next == "" {
		return []string{now}
	}
	return []string{now, next}
}
