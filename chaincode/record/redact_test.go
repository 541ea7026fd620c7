package record

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// What never goes on the ledger goes into no log either.
func TestSealedRecordsDoNotPrintThemselves(t *testing.T) {
	const planted = "900001197001010017"
	part := SealedPart{Account: planted, SubjectID: planted, Contacts: []Contact{{Value: planted}}, Endorsement: &WalletEndorsement{Signature: Blob(planted)}}
	body := AnswerBody{Value: planted}
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	for _, v := range []any{part, &part, part.Contacts, part.Contacts[0], *part.Endorsement, part.Endorsement, body, &body, []AnswerBody{body}, struct{ P SealedPart }{part}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		log.Info("x", "value", v)
	}
	if s := text.String(); strings.Contains(s, planted) || strings.Contains(s, fmt.Sprintf("%x", planted)) || !strings.Contains(s, redacted) {
		t.Errorf("personal data printed:\n%s", s)
	}
}
