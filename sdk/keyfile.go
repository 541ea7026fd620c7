package sdk

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk/internal/envelope"
)

// maxKeyFile bounds what ReadKeyFile reads.
const maxKeyFile = 64 << 10

// ReadKeyFile opens an Ethereum keystore file (version 3) with its password.
func ReadKeyFile(path, password string) (Signer, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxKeyFile {
		err = fmt.Errorf("%d bytes, at most %d are read", info.Size(), maxKeyFile)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &ConfigError{What: "key file", Cause: err, Remedy: "Give the path of a keystore file; NewKeyFile (assent member client new) makes one."}
	}
	key, err := parseKeyFile(b, password)
	if errors.Is(err, envelope.ErrPassword) {
		return nil, &ConfigError{What: "key file " + path + " does not open", Cause: err, Remedy: "Give the password with which it was made."}
	}
	if err != nil {
		return nil, &ConfigError{What: "key file " + path, Cause: err, Remedy: "Give a keystore file of version 3."}
	}
	return ledger.NewKeySigner(key), nil
}

// parseKeyFile opens the content of a keystore file, which somebody else may have
// written.
func parseKeyFile(b []byte, password string) (*ecdsa.PrivateKey, error) {
	var f struct {
		Version int                 `json:"version"`
		Crypto  keystore.CryptoJSON `json:"crypto"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	if f.Version != 3 {
		return nil, fmt.Errorf("it has version %d", f.Version)
	}
	secret, err := envelope.Open(f.Crypto, password)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return crypto.ToECDSA(secret)
}

// NewKeyFile makes a random key, encrypts it with a password and writes it to a
// new file that only its owner reads. An existing file is never replaced.
func NewKeyFile(path, password string) (Address, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return Address{}, &ConfigError{What: "key file " + path + " exists already", Cause: err, Remedy: "Choose another path; a lost key cannot be recovered."}
	}
	if password == "" {
		return Address{}, &ConfigError{What: "empty password", Remedy: "Give one: whoever reads the file could act in the member's name."}
	}
	private, err := crypto.GenerateKey()
	if err != nil {
		return Address{}, fmt.Errorf("make a key: %w", err)
	}
	k := &keystore.Key{Address: crypto.PubkeyToAddress(private.PublicKey), PrivateKey: private}
	rand.Read(k.Id[:]) // never fails since Go 1.24
	k.Id[6], k.Id[8] = k.Id[6]&0x0f|0x40, k.Id[8]&0x3f|0x80
	b, err := keystore.EncryptKey(k, password, keystore.LightScryptN, keystore.LightScryptP)
	if err != nil {
		return Address{}, fmt.Errorf("encrypt key: %w", err)
	}
	return k.Address, durable.WriteFile(path, b)
}
