package bft

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// settle puts the last log file on disk once more, before anything is read of it.
//
// Every record but those of the last file was synced, or the log would have ended
// there. In the last file a sync may have failed, for which the engine stopped; the
// operating system then takes the pages for written and shows them as long as it
// runs. A vote that was read from there, and left this replica after a restart,
// would be forgotten by the next loss of power. Syncing again does not help, for
// nothing is left to write: so the file is written anew, under another name first.
func settle(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+walSuffix))
	if err != nil || len(names) == 0 {
		return err
	}
	slices.Sort(names)
	last := names[len(names)-1]
	if err := rewrite(last); err != nil {
		return fmt.Errorf("write %s to the disk again: %w: see to the disk, then start the node again", last, err)
	}
	return nil
}

// settling ends the name of a copy that is not finished.
const settling = ".settling"

func rewrite(path string) (err error) {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	// What a crash left of such a copy is overwritten.
	to, err := os.OpenFile(path+settling, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, to.Close(), os.Remove(path+settling))
		}
	}()
	if _, err = io.Copy(to, from); err != nil {
		return err
	}
	if err = to.Sync(); err != nil {
		return err
	}
	if err = os.Rename(path+settling, path); err != nil {
		return err
	}
	return errors.Join(to.Close(), syncDir(filepath.Dir(path)))
}
