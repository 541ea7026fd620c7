package node

import (
	"testing"

	"go.uber.org/goleak"
)

// A node joins every goroutine it started. The one that is excused is the
// database's: it sees its Close only when its timer fires, seconds later.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
