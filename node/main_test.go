package node

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// A node joins every goroutine it started. The one that is excused is the
// database's: it sees its Close only when its timer fires, seconds later.
func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" { // started again by a test, to be killed
		if err := pruneChild(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
