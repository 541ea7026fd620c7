package console

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// maxExport bounds one export; whoever wants more takes shorter periods, or the whole
// ledger with its proofs (assent audit).
const maxExport = 50_000

// exported returns the ids that an export holds, newest first, or says why there is none.
func (c *Console) exported(w http.ResponseWriter, r *http.Request, l *listing, prefixes []string) ([]string, bool) {
	var ids []string
	for at := l.first; ; {
		more, next, err := newest(c.cfg.Ledger, prefixes, at, l.since, 1000)
		if err != nil {
			c.failed(w, r, err)
			return nil, false
		}
		if ids = append(ids, more...); len(ids) > maxExport {
			c.problem(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("That is more than %d records", maxExport), "Export shorter periods: choose the days From and To.")
			return nil, false
		}
		if next == "" || r.Context().Err() != nil {
			return ids, r.Context().Err() == nil
		}
		at = next
	}
}

// table writes a CSV file of one line per id. A line that cannot be read ends the
// connection: half a file must not look whole.
func (c *Console) table(w http.ResponseWriter, r *http.Request, name string, head []string, ids []string, line func(id string) ([]string, error)) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	cells := csv.NewWriter(w)
	err := cells.Write(head)
	for i, id := range ids {
		if err != nil || r.Context().Err() != nil {
			break
		}
		if i%1000 == 0 {
			cells.Flush()
			err = errors.Join(cells.Error(), out.SetReadDeadline(time.Time{}), out.SetWriteDeadline(time.Now().Add(30*time.Second)))
			if err != nil {
				break
			}
		}
		var row []string
		if row, err = line(id); err == nil {
			for i := range row {
				row[i] = cell(row[i])
			}
			err = cells.Write(row)
		}
	}
	if cells.Flush(); err == nil {
		err = cells.Error()
	}
	if err != nil && r.Context().Err() == nil {
		c.cfg.Logger.Error("console: an export broke off", "err", err)
		panic(http.ErrAbortHandler)
	}
}

// cell keeps a spreadsheet from taking text for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func (c *Console) exportConsents(w http.ResponseWriter, r *http.Request, _ *visitor) {
	l, ok := c.listed(w, r)
	if !ok {
		return
	}
	prefixes := consentsOf(l.Party, record.Status(r.URL.Query().Get("status")))
	if prefixes == nil {
		c.problem(w, r, http.StatusBadRequest, "There is no such status", "Choose one of the list.")
		return
	}
	ids, ok := c.exported(w, r, l, prefixes)
	if !ok {
		return
	}
	head := []string{"consent", "version", "created", "lender", "provider", "product", "templates", "purposes", "validFrom", "until", "status", "maxUses"}
	c.table(w, r, "consents-"+l.Party+".csv", head, ids, func(id string) ([]string, error) {
		k, err := load[record.Consent](r.Context(), c.cfg.Ledger, record.ConsentKey(record.ConsentID(id)))
		if err != nil {
			return nil, err
		}
		return []string{
			id, strconv.FormatUint(k.Version, 10), stamp(k.CreatedAt), string(k.Consumer()), string(k.Provider()), string(k.ProductID), joined(k.TemplateIDs), joined(k.Purposes),
			stamp(k.ValidFrom), stamp(k.ExpirationDateTime), c.withStatus(k).Now, strconv.FormatUint(k.AccessLimits.MaxUses, 10),
		}, nil
	})
}

func (c *Console) exportRequests(w http.ResponseWriter, r *http.Request, _ *visitor) {
	l, ok := c.listed(w, r)
	if !ok {
		return
	}
	ids, ok := c.exported(w, r, l, []string{record.RequestPartyPrefix(record.OrgID(l.Party))})
	if !ok {
		return
	}
	head := []string{"request", "requested", "lender", "provider", "consent", "use", "template", "purpose", "decision", "code", "outcome", "recorded"}
	c.table(w, r, "requests-"+l.Party+".csv", head, ids, func(id string) ([]string, error) {
		lines, err := c.requestLines(r.Context(), []string{id})
		if err != nil {
			return nil, err
		}
		q, recorded := lines[0], ""
		if q.Receipt != nil {
			recorded = stamp(q.Receipt.RecordedAt)
		}
		return []string{
			id, stamp(q.RequestedAt), string(q.Consumer), string(q.Provider), string(q.ConsentID), strconv.FormatUint(q.Sequence, 10), string(q.TemplateID),
			string(q.Purpose), string(q.Decision), string(q.Code), q.Outcome(), recorded,
		}, nil
	})
}

// stamp is a ledger time as spreadsheets and programs read it.
func stamp(t record.Millis) string {
	if t == 0 {
		return ""
	}
	return time.UnixMilli(t).UTC().Format("2006-01-02T15:04:05.000Z")
}

func joined[T ~string](items []T) string {
	parts := make([]string, len(items))
	for i, x := range items {
		parts[i] = string(x)
	}
	return strings.Join(parts, " ")
}
