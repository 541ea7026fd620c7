package keys

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/google/uuid"
)

const (
	fileFormat   = 1
	web3Version  = 3
	maxFileBytes = 8 << 10
	maxSecret    = 512 // plaintext bytes of any kind

	scryptN = keystore.LightScryptN
	scryptP = keystore.LightScryptP
	scryptR = 8
	dkLen   = 32
)

// keyFile is the bytes on disk.
type keyFile struct {
	Address string     `json:"address,omitempty"` // secp256k1 only; hex without 0x, as Web3 wants
	Crypto  cryptoPart `json:"crypto"`
	ID      string     `json:"id"`
	Version int        `json:"version"`
	Assent  ownPart    `json:"assent"`
}

type ownPart struct {
	Format    int    `json:"format"`
	Kind      Kind   `json:"kind"`
	PublicKey string `json:"publicKey"` // 0x-hex
	Created   int64  `json:"created"`   // Unix ms
}

// cryptoPart is keystore.CryptoJSON with types instead of a map, because the
// library panics on a field of another type and allocates what the file asks.
type cryptoPart struct {
	Cipher       string `json:"cipher"`
	CipherText   string `json:"ciphertext"`
	CipherParams struct {
		IV string `json:"iv"`
	} `json:"cipherparams"`
	KDF       string `json:"kdf"`
	KDFParams struct {
		N     int    `json:"n"`
		R     int    `json:"r"`
		P     int    `json:"p"`
		DKLen int    `json:"dklen"`
		Salt  string `json:"salt"`
	} `json:"kdfparams"`
	MAC string `json:"mac"`
}

// seal encrypts secret into a file, with scrypt work factor n.
func seal(info Info, secret, password []byte, n int) ([]byte, error) {
	enc, err := keystore.EncryptDataV3(secret, password, n, scryptP)
	if err != nil {
		return nil, fmt.Errorf("encrypt key %q: %w", info.Name, err)
	}
	f := keyFile{
		ID:      uuid.NewString(),
		Version: web3Version,
		Assent:  ownPart{fileFormat, info.Kind, info.PublicKey, info.Created.UnixMilli()},
	}
	if info.Kind.curve() == secp256k1 {
		f.Address = hex.EncodeToString(info.Address[:])
	}
	raw, err := json.Marshal(enc)
	if err == nil {
		err = json.Unmarshal(raw, &f.Crypto)
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt key %q: %w", info.Name, err)
	}
	out, err := json.MarshalIndent(&f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encrypt key %q: %w", info.Name, err)
	}
	return append(out, '\n'), nil
}

// parse reads a file and checks every bound, so that decrypting it afterwards
// costs no more than a key of ours does.
func parse(b []byte) (*keyFile, error) {
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(b), maxFileBytes)
	}
	f := new(keyFile)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(f); err != nil {
		return nil, errors.New("not a key file: its JSON is malformed or has unknown fields")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("not a key file: bytes follow the JSON")
	}
	c := &f.Crypto
	switch {
	case f.Version != web3Version || f.Assent.Format != fileFormat:
		return nil, fmt.Errorf("version %d, format %d: this program reads version %d, format %d", f.Version, f.Assent.Format, web3Version, fileFormat)
	case f.Assent.Kind.curve() == none:
		return nil, fmt.Errorf("kind %.20q is unknown: want one of %s", f.Assent.Kind, kindNames())
	case c.Cipher != "aes-128-ctr" || c.KDF != "scrypt":
		return nil, errors.New("cipher or key derivation is not the one this program uses")
	case c.KDFParams.N < 2 || c.KDFParams.N > scryptN || c.KDFParams.R != scryptR || c.KDFParams.P < 1 || c.KDFParams.P > scryptP || c.KDFParams.DKLen != dkLen:
		return nil, fmt.Errorf("scrypt parameters exceed N %d, r %d, p %d", scryptN, scryptR, scryptP)
	case !isHex(c.KDFParams.Salt, 32, 32) || !isHex(c.CipherParams.IV, 16, 16) || !isHex(c.MAC, 32, 32) || !isHex(c.CipherText, 1, maxSecret):
		return nil, errors.New("salt, iv, mac or ciphertext has a wrong length")
	case !strings.HasPrefix(f.Assent.PublicKey, "0x") || !isHex(f.Assent.PublicKey[2:], 32, 128):
		return nil, errors.New("the public key is malformed")
	}
	return f, nil
}

func isHex(s string, least, most int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) >= least && len(b) <= most
}

// open decrypts a parsed file.
func (f *keyFile) open(password []byte) ([]byte, error) {
	c := keystore.CryptoJSON{
		Cipher:     f.Crypto.Cipher,
		CipherText: f.Crypto.CipherText,
		KDF:        f.Crypto.KDF,
		KDFParams: map[string]any{
			"n": f.Crypto.KDFParams.N, "r": f.Crypto.KDFParams.R, "p": f.Crypto.KDFParams.P,
			"dklen": f.Crypto.KDFParams.DKLen, "salt": f.Crypto.KDFParams.Salt,
		},
		MAC: f.Crypto.MAC,
	}
	c.CipherParams.IV = f.Crypto.CipherParams.IV
	secret, err := keystore.DecryptDataV3(c, string(password))
	if errors.Is(err, keystore.ErrDecrypt) {
		return nil, ErrWrongPassword
	}
	if err != nil {
		return nil, errors.New("the file cannot be decrypted: it is damaged, restore it from a copy")
	}
	return secret, nil
}

func (f *keyFile) info(name string) Info {
	i := Info{Name: name, Kind: f.Assent.Kind, PublicKey: f.Assent.PublicKey, Created: time.UnixMilli(f.Assent.Created)}
	if b, err := hex.DecodeString(f.Address); err == nil && len(b) == len(i.Address) {
		copy(i.Address[:], b)
	}
	return i
}
