package keys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

const maxPasswordBytes = 4 << 10

// Password obtains the password of a key when it is needed. The caller clears
// what it returns.
type Password func(key string) ([]byte, error)

// Fixed returns the same password for every key.
func Fixed(password []byte) Password {
	return func(string) ([]byte, error) { return bytes.Clone(password), nil }
}

// whose names the password in errors; "" is that of all keys.
func whose(key string) string {
	if key == "" {
		return "password of the keys"
	}
	return fmt.Sprintf("password of key %q", key)
}

// FromFile reads the first line of a file that nobody else may read. The group
// may, because secret stores mount files so.
func FromFile(path string) Password {
	return func(key string) ([]byte, error) {
		fi, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: file %s does not exist: write the password into it with mode 0600, or correct the path", whose(key), path)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", whose(key), err)
		}
		if p := fi.Mode().Perm(); p&0o027 != 0 {
			return nil, fmt.Errorf("%s: %w: %s has mode %04o, run: chmod 600 %s", whose(key), ErrTooOpen, path, p, path)
		}
		if fi.Size() > maxPasswordBytes {
			return nil, fmt.Errorf("%s: file %s has more than %d bytes: it holds something else", whose(key), path, maxPasswordBytes)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", whose(key), err)
		}
		line, _, _ := bytes.Cut(b, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return nil, fmt.Errorf("%s: file %s begins with an empty line: put the password on the first line", whose(key), path)
		}
		return line, nil
	}
}

// FromEnv reads an environment variable.
func FromEnv(variable string) Password {
	return func(key string) ([]byte, error) {
		v := os.Getenv(variable)
		if v == "" {
			return nil, fmt.Errorf("%s: environment variable %s is not set: set it, or name a password file", whose(key), variable)
		}
		return []byte(v), nil
	}
}

// ParseSource reads "file:<path>", "env:<variable>" or "prompt". prompt asks a
// person; nil means that nobody is there to ask.
func ParseSource(source string, prompt Password) (Password, error) {
	scheme, rest, _ := strings.Cut(source, ":")
	switch {
	case scheme == "file" && rest != "":
		return FromFile(rest), nil
	case scheme == "env" && rest != "":
		return FromEnv(rest), nil
	case source == "prompt" && prompt != nil:
		return prompt, nil
	case source == "prompt":
		return nil, errors.New("password source \"prompt\": no terminal to ask on: use \"file:<path>\" or \"env:<variable>\"")
	}
	return nil, errors.New("password source: want \"file:<path>\", \"env:<variable>\" or \"prompt\"") // never the value: it may be a password
}
