// Package envelope opens what Ethereum keystore files (version 3) hold encrypted:
// client keys and wallets.
//
// It owns the bounds. It promises that a file, whatever somebody wrote into it, is
// refused with an error or opened with at most 256 MiB of memory and a few seconds:
// the library that does the opening believes a file's parameters and panics on some.
// It leaves to others what is inside.
package envelope

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/keystore"
)

// ErrPassword says that the password is another, or the file is damaged.
var ErrPassword = keystore.ErrDecrypt

// What keystores in the field use: scrypt with N 2^18 and p 1, or N 2^12 and p 6;
// or PBKDF2 with 2^18 rounds.
const (
	maxScryptN = 1 << 18
	scryptR    = 8
	maxScryptP = 8
	maxRounds  = 1 << 22
	keyLength  = 32
	maxContent = 64 << 20 // bytes
)

// Open decrypts with a password.
func Open(c keystore.CryptoJSON, password string) ([]byte, error) {
	if err := check(&c); err != nil {
		return nil, err
	}
	return keystore.DecryptDataV3(c, password)
}

func check(c *keystore.CryptoJSON) error {
	number := func(name string) int {
		v, _ := c.KDFParams[name].(float64) // as encoding/json reads it; 0 is refused below
		if v != float64(int64(v)) || v < 0 || v > 1<<40 {
			return 0
		}
		return int(v)
	}
	salt, _ := c.KDFParams["salt"].(string)
	switch {
	case c.Cipher != "aes-128-ctr":
		return fmt.Errorf("its cipher is %.32q, this program reads aes-128-ctr", c.Cipher)
	case !isHex(c.CipherParams.IV, 16, 16) || !isHex(c.MAC, 32, 32) || !isHex(c.CipherText, 1, maxContent) || !isHex(salt, 1, 1024):
		return errors.New("its iv, mac, salt or ciphertext is no hex of the right length: it is damaged")
	case number("dklen") != keyLength:
		return fmt.Errorf("its dklen is not %d: it is damaged", keyLength)
	}
	switch c.KDF {
	case "scrypt":
		n, r, p := number("n"), number("r"), number("p")
		if n < 2 || n > maxScryptN || n&(n-1) != 0 || r != scryptR || p < 1 || p > maxScryptP {
			return fmt.Errorf("its scrypt parameters are not N a power of two up to %d, r %d, p 1 to %d: it is damaged, or made to exhaust this machine", maxScryptN, scryptR, maxScryptP)
		}
	case "pbkdf2":
		if prf, _ := c.KDFParams["prf"].(string); prf != "hmac-sha256" {
			return errors.New("its PBKDF2 is not with hmac-sha256: make it anew with scrypt")
		}
		if rounds := number("c"); rounds < 1 || rounds > maxRounds {
			return fmt.Errorf("its PBKDF2 has not 1 to %d rounds: it is damaged, or made to exhaust this machine", maxRounds)
		}
	default:
		return fmt.Errorf("its key derivation is %.32q, this program reads scrypt and pbkdf2", c.KDF)
	}
	return nil
}

func isHex(s string, least, most int) bool {
	if len(s) > 2*most {
		return false
	}
	b, err := hex.DecodeString(s)
	return err == nil && len(b) >= least
}
