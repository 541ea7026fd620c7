package record

import (
	"fmt"
	"io"
	"log/slog"
)

// Records that never go on the ledger print as this, whatever the verb: they say
// who somebody is, or what was answered about her.
const redacted = "[redacted]"

// Format hides the part from every verb.
func (SealedPart) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue hides the part from slog.
func (SealedPart) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format hides the contact from every verb.
func (Contact) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue hides the contact from slog.
func (Contact) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format hides the endorsement, which links the consents of one wallet, from
// every verb.
func (WalletEndorsement) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue hides the endorsement from slog.
func (WalletEndorsement) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format hides the answer from every verb.
func (AnswerBody) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue hides the answer from slog.
func (AnswerBody) LogValue() slog.Value { return slog.StringValue(redacted) }
