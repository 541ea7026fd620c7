// Package redact holds what must not be printed: secrets of the node, and what
// identifies a person.
//
// It promises that neither a Secret nor a Personal shows its content under any
// verb of fmt, in JSON, YAML or any other text encoding, in slog, or as an
// unexported field of something that is printed; the content comes out by Reveal
// alone, so that a search for that word finds every place that uses it. Both take
// part in decoding as ordinary text does.
//
// It leaves to others what is secret. Types that cannot be one of these, because
// they must stay comparable or be a record, hide themselves with Format and
// LogValue of their own.
package redact

import (
	"fmt"
	"io"
	"log/slog"
)

// Mark is what stands in the place of what is not shown.
const Mark = "[redacted]"

// Secret is a password, a token, or a connection string that holds one. The zero
// value is empty.
type Secret struct{ hidden }

// Personal is a subject identifier, an account, a contact: what tells who somebody
// is. The zero value is empty.
type Personal struct{ hidden }

// NewSecret hides s.
func NewSecret(s string) Secret { return Secret{hide(s)} }

// NewPersonal hides s.
func NewPersonal(s string) Personal { return Personal{hide(s)} }

// hidden keeps the text behind a pointer: where fmt cannot call methods, in
// unexported fields, it prints an address.
type hidden struct{ text *string }

func hide(s string) hidden {
	if s == "" {
		return hidden{}
	}
	return hidden{&s}
}

// Reveal returns the content. Whoever calls it answers for where it goes.
func (h hidden) Reveal() string {
	if h.text == nil {
		return ""
	}
	return *h.text
}

// Len returns the length of the content in bytes.
func (h hidden) Len() int { return len(h.Reveal()) }

// Format implements fmt.Formatter: every verb shows the mark.
func (hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Mark) }

// String shows the mark.
func (hidden) String() string { return Mark }

// GoString shows the mark.
func (hidden) GoString() string { return Mark }

// LogValue shows the mark.
func (hidden) LogValue() slog.Value { return slog.StringValue(Mark) }

// MarshalText writes the mark: JSON, YAML and XML use it.
func (hidden) MarshalText() ([]byte, error) { return []byte(Mark), nil }

// UnmarshalText takes the content from a text encoding.
func (h *hidden) UnmarshalText(text []byte) error {
	*h = hide(string(text))
	return nil
}
