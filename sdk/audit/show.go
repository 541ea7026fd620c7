package audit

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/assent-network/assent/node/ledger"
)

// Record is a line of the records file: an event, or a request without one, for
// instance one that was refused. It follows from the proof.
type Record struct {
	Height   ledger.Height   `json:"height"`
	Time     string          `json:"time"` // of the block, UTC
	Request  uint64          `json:"request"`
	TxID     ledger.Hash     `json:"txId"`
	Member   string          `json:"member"` // in whose name it was asked
	Call     string          `json:"call"`   // contract.function
	Code     string          `json:"code"`
	Contract string          `json:"contract,omitempty"`
	Event    string          `json:"event,omitempty"`
	Record   json.RawMessage `json:"record,omitempty"` // after the event
}

var columns = []string{"height", "time", "request", "txId", "member", "call", "code", "contract", "event", "record"}

// records returns what entries show to the scope's member, in order.
func (s *Scope) records(h *ledger.Header, entries []entry) []Record {
	var out []Record
	for i := range entries {
		e := &entries[i]
		r := Record{
			Height: h.Height, Time: time.UnixMilli(int64(h.Time)).UTC().Format("2006-01-02T15:04:05.000Z"),
			Request: e.receipt.Index, TxID: e.receipt.TxID, Code: e.receipt.Code, Call: "config",
		}
		if e.tx != nil {
			r.Member, r.Call = e.tx.Payload.Org, e.tx.Payload.Contract+"."+e.tx.Payload.Function
		}
		if len(e.events) == 0 && s.shows(&r) {
			out = append(out, r)
		}
		for _, ev := range e.events {
			r := r
			r.Contract, r.Event = ev.Contract, ev.Name
			if r.Record = ev.Payload; !json.Valid(ev.Payload) {
				r.Record, _ = json.Marshal(string(ev.Payload))
			}
			if s.shows(&r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// shows reports whether r names the member: as the one that asked, or as any
// string of the record.
func (s *Scope) shows(r *Record) bool {
	if s.Member == "" || r.Member == s.Member {
		return true
	}
	var v any
	return json.Unmarshal(r.Record, &v) == nil && names(v, s.Member)
}

func names(v any, member string) bool {
	switch v := v.(type) {
	case string:
		return v == member
	case []any:
		for _, e := range v {
			if names(e, member) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if names(e, member) {
				return true
			}
		}
	}
	return false
}

// writeTable writes rows of the CSV; with it a header row if rows is nil. The file
// begins with the mark by which spreadsheets know UTF-8.
func writeTable(w io.Writer, rows []Record) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if rows == nil {
		if _, err := io.WriteString(w, "\ufeff"); err != nil {
			return err
		}
		_ = c.Write(columns)
	}
	for _, r := range rows {
		cells := []string{
			strconv.FormatUint(uint64(r.Height), 10), r.Time, strconv.FormatUint(r.Request, 10), r.TxID.Hex(),
			r.Member, r.Call, r.Code, r.Contract, r.Event, string(r.Record),
		}
		for i, s := range cells {
			cells[i] = harmless(s)
		}
		_ = c.Write(cells)
	}
	c.Flush()
	return c.Error()
}

// harmless keeps a spreadsheet from taking a cell for a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
