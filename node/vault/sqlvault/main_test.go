package sqlvault

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
)

// servers stops the shared servers before goroutines are counted.
type servers struct{ *testing.M }

func (s servers) Run() int {
	code := s.M.Run()
	mariaShared.stop()
	if err := pgtest.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(servers{m}) }
