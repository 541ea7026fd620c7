package node

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

var password = []byte("a password of tests")

// writeKeys makes a node's key files before Init would, with a key derivation
// that costs next to nothing: a cluster has dozens of keys, and they guard
// nothing.
func writeKeys(t *testing.T, id *config.Identity, host *ecdsa.PrivateKey) {
	t.Helper()
	if err := os.MkdirAll(id.KeysDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, k := range nodeKeys(id) {
		writeKey(t, filepath.Join(id.KeysDir, k.name+".key.json"), k.kind, host)
	}
}

func writeKey(t *testing.T, path string, kind keys.Kind, host *ecdsa.PrivateKey) {
	t.Helper()
	var secret, public []byte
	var address string
	switch kind {
	case keys.Data:
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		secret, public = k.Bytes(), k.PublicKey().Bytes()
	case keys.TLS:
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if secret, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
			t.Fatal(err)
		}
		if public, err = k.PublicKey.Bytes(); err != nil {
			t.Fatal(err)
		}
	default:
		k := host
		if kind != keys.Host {
			k = newKey(t)
		}
		secret, public = crypto.FromECDSA(k), crypto.CompressPubkey(&k.PublicKey)
		a := crypto.PubkeyToAddress(k.PublicKey)
		address = hex.EncodeToString(a[:])
	}
	sealed, err := keystore.EncryptDataV3(secret, password, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{
		"address": address, "crypto": sealed, "id": "", "version": 3,
		"assent": map[string]any{"format": 1, "kind": kind, "publicKey": "0x" + hex.EncodeToString(public), "created": time.Now().UnixMilli()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// orderedHosts makes n host keys whose node ids ascend: validators are numbered
// in that order.
func orderedHosts(t *testing.T, n int) []*ecdsa.PrivateKey {
	t.Helper()
	out := make([]*ecdsa.PrivateKey, n)
	ids := make(map[*ecdsa.PrivateKey]network.PeerID)
	for i := range out {
		out[i] = newKey(t)
		id, err := network.PeerIDFromPublicKey(crypto.CompressPubkey(&out[i].PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		ids[out[i]] = id
	}
	slices.SortFunc(out, func(a, b *ecdsa.PrivateKey) int { return strings.Compare(string(ids[a]), string(ids[b])) })
	return out
}

func ledgerKey(t *testing.T) ledger.Address { return crypto.PubkeyToAddress(newKey(t).PublicKey) }
