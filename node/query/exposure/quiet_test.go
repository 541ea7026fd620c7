package exposure

import (
	"bytes"
	"sync"
	"testing"

	"github.com/consensys/gnark/logger"
)

// Who only checks proofs compiles no circuit. The library would write a line for each
// to standard output, where a command's one JSON object goes.
func TestCheckingAProofWritesNothing(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	var out bytes.Buffer
	logger.Set(logger.Logger().Output(&out).Level(0)) // as it is outside of tests
	silence = sync.OnceFunc(logger.Disable)           // as in a program that has compiled nothing
	if err := w.banks[0].pledge.Verify(inRangeKey(), w.session.pledgeContext(0)); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		t.Errorf("the library wrote %q", out.String())
	}
}
