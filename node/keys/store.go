package keys

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
)

// Errors that callers test. Each comes wrapped in a sentence with the remedy.
var (
	ErrWrongPassword = errors.New("wrong password")
	ErrNoKey         = errors.New("no such key")
	ErrKeyExists     = errors.New("a key of this name exists")
	ErrWrongKind     = errors.New("the key is of another kind")
	ErrTooOpen       = errors.New("others may read it")
)

// MinPasswordBytes is the least a password may have.
const MinPasswordBytes = 8

// Info is what may be told about a key.
type Info struct {
	Name      string
	Kind      Kind
	Address   ledger.Address // secp256k1 kinds; zero otherwise
	PublicKey string         // 0x-hex: 33 bytes compressed secp256k1, 32 of X25519, 65 of P-256
	Created   time.Time
}

// Store is a directory of keys. Its methods may be called concurrently, from
// several processes too.
type Store struct {
	dir string
	n   int // scrypt work factor of new files
}

// Create makes the directory, or takes an empty one over.
func Create(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create key directory: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("create key directory: %w", err)
	}
	return Open(dir)
}

// Open opens an existing directory. It refuses one that others may enter.
func Open(dir string) (*Store, error) {
	fi, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open key directory: %s does not exist: create it with \"assentd keys create\", or correct the path", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open key directory: %w", err)
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("open key directory: %s is not a directory", dir)
	}
	if p := fi.Mode().Perm(); p&0o077 != 0 {
		return nil, fmt.Errorf("open key directory: %w: %s has mode %04o, run: chmod 700 %s", ErrTooOpen, dir, p, dir)
	}
	return &Store{dir, scryptN}, nil
}

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

// New makes a key and keeps it under name.
func (s *Store) New(name string, kind Kind, password []byte) (Info, error) {
	secret, err := generate(kind)
	if err != nil {
		return Info{}, err
	}
	defer clear(secret)
	return s.Import(name, kind, secret, password)
}

// Import keeps an existing key under name: 32 bytes of a secp256k1 or X25519
// key, PKCS #8 of a P-256 key. A nil error means that it is on disk.
func (s *Store) Import(name string, kind Kind, secret, password []byte) (Info, error) {
	if err := checkName(name); err != nil {
		return Info{}, fmt.Errorf("keep key: %w", err)
	}
	if len(password) < MinPasswordBytes {
		return Info{}, fmt.Errorf("keep key %q: the password has %d bytes, want at least %d: choose a longer one", name, len(password), MinPasswordBytes)
	}
	_, info, err := read(kind, secret)
	if err != nil {
		return Info{}, fmt.Errorf("keep key %q: %w", name, err)
	}
	info.Name, info.Created = name, time.Now().Truncate(time.Millisecond)
	b, err := seal(info, secret, password, s.n)
	if err != nil {
		return Info{}, err
	}
	err = writeNew(s.path(name), b)
	if errors.Is(err, os.ErrExist) {
		return Info{}, fmt.Errorf("keep key %q: %w: choose another name, or move %s away", name, ErrKeyExists, s.path(name))
	}
	if err != nil {
		return Info{}, fmt.Errorf("keep key %q: %w", name, err)
	}
	return info, nil
}

// List returns what may be told about every key, by name. It needs no password.
// A damaged file does not hide the others: its complaint is joined to the error.
func (s *Store) List() ([]Info, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var infos []Info
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || checkName(name) != nil {
			continue
		}
		info, err := s.Info(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, errors.Join(errs...)
}

// Info returns what may be told about a key, as its file says; only unlocking
// proves it.
func (s *Store) Info(name string) (Info, error) {
	f, err := s.load(name)
	if err != nil {
		return Info{}, err
	}
	return f.info(name), nil
}

// Signer unlocks a vote or client key. ErrWrongPassword, ErrNoKey, ErrWrongKind.
func (s *Store) Signer(name string, kind Kind, password []byte) (Signer, error) {
	if kind != Vote && kind != Client {
		return Signer{}, fmt.Errorf("unlock key %q: %w: a %s key signs nothing on the ledger", name, ErrWrongKind, kind)
	}
	p, err := s.unlock(name, kind, password)
	if err != nil {
		return Signer{}, err
	}
	return Signer{ledger.NewKeySigner(p.secp)}, nil
}

// Host unlocks a node's network identity. Errors as Signer.
func (s *Store) Host(name string, password []byte) (*ecdsa.PrivateKey, error) {
	p, err := s.unlock(name, Host, password)
	return p.secp, err
}

// Data unlocks an X25519 key. Errors as Signer.
func (s *Store) Data(name string, password []byte) (*ecdh.PrivateKey, error) {
	p, err := s.unlock(name, Data, password)
	return p.data, err
}

// TLS unlocks the API's key. Errors as Signer.
func (s *Store) TLS(name string, password []byte) (*ecdsa.PrivateKey, error) {
	p, err := s.unlock(name, TLS, password)
	return p.tls, err
}

// Export returns the secret bytes of a key, as Import takes them. The caller
// clears them.
func (s *Store) Export(name string, password []byte) (Kind, []byte, error) {
	f, err := s.load(name)
	if err != nil {
		return "", nil, err
	}
	secret, err := s.decrypt(name, f, password)
	return f.Assent.Kind, secret, err
}

// ChangePassword encrypts a key anew. A wrong old password changes nothing; a
// crash leaves the file with the old or the new one.
func (s *Store) ChangePassword(name string, old, new []byte) error {
	if len(new) < MinPasswordBytes {
		return fmt.Errorf("change password of key %q: the new one has %d bytes, want at least %d: choose a longer one", name, len(new), MinPasswordBytes)
	}
	f, err := s.load(name)
	if err != nil {
		return err
	}
	secret, err := s.decrypt(name, f, old)
	if err != nil {
		return err
	}
	defer clear(secret)
	b, err := seal(f.info(name), secret, new, s.n)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(s.path(name), b); err != nil {
		return fmt.Errorf("change password of key %q: %w", name, err)
	}
	return nil
}

func (s *Store) unlock(name string, kind Kind, password []byte) (private, error) {
	f, err := s.load(name)
	if err != nil {
		return private{}, err
	}
	if f.Assent.Kind != kind {
		return private{}, fmt.Errorf("unlock key %q: %w: it is a %s key, a %s key is needed: name another key in the configuration", name, ErrWrongKind, f.Assent.Kind, kind)
	}
	secret, err := s.decrypt(name, f, password)
	if err != nil {
		return private{}, err
	}
	defer clear(secret)
	p, _, err := read(kind, secret)
	if err != nil {
		return private{}, fmt.Errorf("unlock key %q: %w", name, err)
	}
	return p, nil
}

// decrypt returns the secret of a file after checking that it belongs to the
// public key and address that the file shows.
func (s *Store) decrypt(name string, f *keyFile, password []byte) ([]byte, error) {
	secret, err := f.open(password)
	if errors.Is(err, ErrWrongPassword) {
		return nil, fmt.Errorf("unlock key %q: %w: check the password file or variable; nothing was changed", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("unlock key %q: %w", name, err)
	}
	_, got, err := read(f.Assent.Kind, secret)
	said := f.info(name)
	if err != nil || got.PublicKey != said.PublicKey || got.Address != said.Address {
		clear(secret)
		return nil, fmt.Errorf("unlock key %q: the file holds another key than it names: somebody exchanged it, restore it from a copy", name)
	}
	return secret, nil
}

func checkName(name string) error {
	ok := len(name) > 0 && len(name) <= 64 && name[0] != '.'
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	if !ok {
		return fmt.Errorf("name %.70q: want 1 to 64 of a-z, 0-9, '-', '_', '.', not beginning with '.'", name)
	}
	return nil
}
