package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// The records and lists of the ledger, under the names an application needs, so
// that it imports this package alone. What each field means stands in
// chaincode/record.
type (
	Hash    = ledger.Hash
	Address = ledger.Address

	Record        = record.Record
	CheckedRecord = record.Checked // a Record whose meaning can be checked
	Bytes         = record.Blob

	OrgID        = record.OrgID
	NodeID       = record.NodeID
	DataKeyID    = record.DataKeyID
	NoticeID     = record.NoticeID
	ProductID    = record.ProductID
	TemplateID   = record.TemplateID
	ConsentID    = record.ConsentID
	PrincipalRef = record.PrincipalRef
	RequestID    = record.RequestID

	Member      = record.Member
	Registered  = record.Client // a client key of a member, as the ledger holds it
	ClientSpec  = record.ClientSpec
	Node        = record.Node
	NodeSpec    = record.NodeSpec
	DataKey     = record.DataKey
	DataKeySpec = record.DataKeySpec

	Notice       = record.Notice
	NoticeSpec   = record.NoticeSpec
	Product      = record.Product
	ProductSpec  = record.ProductSpec
	Column       = record.Column
	Class        = record.Class
	Template     = record.Template
	TemplateSpec = record.TemplateSpec
	// TemplateProposal is a query template that one officer proposed.
	TemplateProposal = record.TemplateProposal
	Param            = record.Param
	Epoch            = record.Epoch

	Consent           = record.Consent
	ConsentTerms      = record.ConsentTerms
	AccessLimits      = record.AccessLimits
	Party             = record.Party
	Evidence          = record.Evidence
	SealedPart        = record.SealedPart
	Contact           = record.Contact
	WalletEndorsement = record.WalletEndorsement
	KeyEndorsement    = record.KeyEndorsement

	AccessRequest = record.Request // one use of a consent, as the ledger holds it
	AccessReceipt = record.Receipt // what became of it
	Usage         = record.Usage

	Status       = record.Status
	Purpose      = record.Purpose
	Method       = record.Method
	Reason       = record.Reason
	KeyReason    = record.KeyReason
	ClientRole   = record.ClientRole
	DataClass    = record.DataClass
	TemplateKind = record.TemplateKind
)

// Values that applications write; the closed lists stand in chaincode/record.
const (
	SuiteX25519    = record.SuiteX25519
	MethodWallet   = record.Wallet
	MethodProvider = record.ProviderAuthenticated
	MethodWritten  = record.WrittenEvidence
)

// JSON returns the canonical JSON of a record.
func JSON(r Record) ([]byte, error) { return record.Encode(r) }

// MaxRecordFile bounds what ReadRecord reads.
const MaxRecordFile = 256 << 10

// ReadRecord reads a record that a person wrote: any JSON spelling of it, with
// white space and fields in any order, but no unknown or repeated field. The
// record's own rules are checked.
func ReadRecord(data []byte, r record.Checked) error {
	if len(data) > MaxRecordFile {
		return fmt.Errorf("read record: %d bytes, at most %d are allowed", len(data), MaxRecordFile)
	}
	canonical, err := canonicalJSON(data)
	if err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	if err := record.Decode(canonical, r); err != nil {
		return fmt.Errorf("read record: %w (fields are named and spelt as in the canonical JSON; leave out what is zero and optional)", err)
	}
	if err := r.Check(); err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	return nil
}

// canonicalJSON brings any JSON document into the one spelling of records:
// sorted keys, no white space, integers only.
func canonicalJSON(data []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return appendCanonical(nil, v), nil
}

// appendCanonical writes what readValue read: keys sorted, strings in the one
// escaping of RFC 8785.
func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, k), ':')
			b = appendCanonical(b, v[k])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, v[i])
		}
		return append(b, ']')
	case string:
		return appendText(b, v)
	case json.Number:
		return append(b, v...)
	case bool:
		return strconv.AppendBool(b, v)
	}
	return append(b, "null"...)
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case c >= 8 && c <= 13 && c != 11:
			b = append(b, '\\', "btn_fr"[c-8])
		default:
			b = fmt.Appendf(b, "\\u%04x", c)
		}
	}
	return append(b, '"')
}

const maxDepth = 16

func readValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON at byte %d", d.InputOffset())
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := readValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	object := map[string]any{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON at byte %d", d.InputOffset())
		}
		name, _ := k.(string)
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("field %q is repeated", name)
		}
		if object[name], err = readValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return object, err
}
