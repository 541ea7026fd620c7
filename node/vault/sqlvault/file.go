package sqlvault

import (
	"fmt"
	"os"

	"github.com/assent-network/assent/node/vault"
)

// hold makes sure that the vault reads the file that now has its name, and keeps
// it so until release. An open connection would go on answering from a file that
// was removed or replaced by another import.
func (v *Vault) hold() (release func(), err error) {
	path := v.cfg.Dialect.File
	if path == "" {
		return func() {}, nil
	}
	for {
		now, err := regular(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		v.fileMu.RLock()
		if os.SameFile(now, v.file) {
			return v.fileMu.RUnlock, nil
		}
		v.fileMu.RUnlock()
		v.reopen(now)
	}
}

// reopen closes what was opened on another file: nobody uses it meanwhile. The
// columns' types stay known: the new file has to have them too.
func (v *Vault) reopen(now os.FileInfo) {
	v.fileMu.Lock()
	defer v.fileMu.Unlock()
	if os.SameFile(now, v.file) {
		return
	}
	v.mu.Lock()
	for _, l := range v.statements {
		v.dropLocked(l)
	}
	v.mu.Unlock()
	idle := v.db.Stats().MaxOpenConnections
	v.db.SetMaxIdleConns(-1) // closes those that are idle, which is all of them
	v.db.SetMaxIdleConns(idle)
	v.connected()
	v.file = now
}

// regular looks at a file.
func regular(path string) (os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	return info, nil
}
