package node

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// Whatever an error says, the ledger takes it as a reason.
func TestAReasonOfARefusalFitsItsRecord(t *testing.T) {
	for _, text := range []string{
		"update the program", "two\nlines\tand\x00more", "invalid \xff\xfe bytes", strings.Repeat("x", 300), strings.Repeat("理", 100),
		"x" + strings.Repeat("理", 100), strings.Repeat("y", 255) + " z", "  within  ",
	} {
		got := reasonText(errors.New(text))
		spec := &record.RefusalSpec{ConfigHash: ledger.Hash{1}, Reason: got}
		b, err := record.Encode(spec)
		if err == nil {
			err = spec.Check()
		}
		if err != nil || !utf8.ValidString(got) || got == "" || !strings.Contains(string(b), `"reason"`) {
			t.Errorf("%.40q became %q: %v", text, got, err)
		}
	}
}
