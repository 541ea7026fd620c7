package bft

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// votedFile notes votes that the library does not log: those for a proposal
// taken over from the previous view in a view change.
const votedFile = "voted"

// readVoted returns the height noted in dir, 0 if none.
func readVoted(dir string) (uint64, error) {
	path := filepath.Join(dir, votedFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read voted height: %w", err)
	}
	height, err := strconv.ParseUint(strings.TrimSuffix(string(raw), "\n"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read voted height: %s does not hold a height", path)
	}
	return height, nil
}

// writeVoted replaces the note; it is on disk when writeVoted returns.
func writeVoted(dir string, height uint64) error {
	tmp := filepath.Join(dir, votedFile+".tmp")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("note voted height %d: %w", height, err)
	}
	_, err = f.WriteString(strconv.FormatUint(height, 10) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, filepath.Join(dir, votedFile))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("note voted height %d: %w", height, err)
	}
	return nil
}
