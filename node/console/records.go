package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// errNone: the ledger has no such record.
var errNone = errors.New("console: no such record")

// load reads a record. Errors: errNone.
func load[T any, P interface {
	*T
	record.Record
}](ctx context.Context, l Ledger, key string) (*T, error) {
	row, err := l.Row(ctx, key)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, errNone
	}
	v, err := record.Load[T, P](row)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return v, nil
}

// missing says that there is no such thing, or why it cannot be read.
func (c *Console) missing(w http.ResponseWriter, r *http.Request, what string, err error) {
	if errors.Is(err, errNone) {
		c.problem(w, r, http.StatusNotFound, "The ledger has no such "+what, "Check the id: it is shown in full on the page that names it.")
		return
	}
	c.failed(w, r, err)
}

// recordNamed is the page of the record with that id, if there is one.
func (c *Console) recordNamed(ctx context.Context, id string) (page string, ok bool, err error) {
	for _, kind := range []struct {
		page, key string
		err       error
	}{
		{"consents/", record.ConsentKey(record.ConsentID(id)), record.ConsentID(id).Check()},
		{"requests/", record.RequestKey(record.RequestID(id)), record.RequestID(id).Check()},
		{"products/", record.ProductKey(record.ProductID(id)), record.ProductID(id).Check()},
	} {
		if kind.err != nil {
			continue
		}
		row, err := c.cfg.Ledger.Row(ctx, kind.key)
		if api.CodeOf(err) == assentv1.Code_CODE_PRUNED {
			return kind.page + id, true, nil // its page says who keeps it
		}
		if err != nil {
			return "", false, err
		}
		if row != nil {
			return kind.page + id, true, nil
		}
	}
	return "", false, nil
}

// newest returns the ids that several indexes list, newest first, after the one that
// a page ended with and not older than since. Index keys are prefix, time, "/" and id,
// so where a page ends is one place in all of them.
func newest(l Ledger, prefixes []string, before, since string, limit int) (ids []string, next string, err error) {
	var places []string // time/id
	for _, p := range prefixes {
		to := ""
		if before != "" {
			to = p + before
		}
		rows, err := l.Newest(p, to, limit+1)
		if err != nil {
			return nil, "", err
		}
		for _, row := range rows {
			if place := strings.TrimPrefix(row.Key, p); place >= since {
				places = append(places, place)
			}
		}
	}
	slices.SortFunc(places, func(a, b string) int { return cmp.Compare(b, a) })
	if len(places) > limit {
		places = places[:limit]
		next = places[limit-1]
	}
	for _, p := range places {
		ids = append(ids, record.LastSegment(p))
	}
	return ids, next, nil
}

// checkPlace refuses what no page of a list ended with.
func checkPlace(place string) bool {
	at, id, ok := strings.Cut(place, "/")
	return place == "" || ok && len(at) == 16 && strings.Trim(at, "0123456789") == "" && len(id) <= 128 && !strings.Contains(id, "/")
}

// parties are the members whose records may be listed: the visitor's own first.
func (c *Console) parties() []string {
	out := []string{c.cfg.Member}
	for _, m := range c.cfg.Ledger.Config().Members {
		if m.ID != c.cfg.Member {
			out = append(out, m.ID)
		}
	}
	return out
}

// listing is what the pages of lists have in common.
type listing struct {
	Party    string
	Parties  []string
	From, To string // days, UTC, both included; "": open
	Before   string // where the page before ended
	Next     string // where this one ends; "": it is the last
	Query    template.URL

	first, since string // places: of the newest to be shown, and below the oldest
}

// dayForm is how browsers send a day.
const dayForm = "2006-01-02"

// listed reads what a list is asked for.
func (c *Console) listed(w http.ResponseWriter, r *http.Request) (*listing, bool) {
	q := r.URL.Query()
	l := &listing{Party: cmp.Or(q.Get("party"), c.cfg.Member), Parties: c.parties(), From: q.Get("from"), To: q.Get("to"), Before: q.Get("before")}
	from, ferr := time.Parse(dayForm, cmp.Or(l.From, "1970-01-01"))
	to, terr := time.Parse(dayForm, cmp.Or(l.To, "2200-01-01"))
	switch {
	case !checkPlace(l.Before) || !slices.Contains(l.Parties, l.Party):
		c.problem(w, r, http.StatusBadRequest, "The list cannot be shown from there", "Begin with its first page.")
		return nil, false
	case ferr != nil || terr != nil || to.Before(from) || from.Year() < 1970:
		c.problem(w, r, http.StatusBadRequest, "These are no two days, one after the other", "Write days as 2026-11-24; leave a field empty for no limit.")
		return nil, false
	}
	l.since = record.TimeSegment(from.UnixMilli())
	l.first = l.Before
	if l.first == "" && l.To != "" {
		l.first = record.TimeSegment(to.AddDate(0, 0, 1).UnixMilli())
	}
	keep := url.Values{"party": {l.Party}}
	for name, v := range map[string]string{"from": l.From, "to": l.To, "status": q.Get("status")} {
		if v != "" {
			keep.Set(name, v)
		}
	}
	l.Query = template.URL(keep.Encode())
	return l, true
}

// consentLine is a consent with the status that it has by now: the recorded one stays
// until somebody tells the ledger that it has run out.
type consentLine struct {
	*record.Consent
	Now string
}

func (c *Console) withStatus(k *record.Consent) consentLine {
	now := string(k.Status)
	if (k.Status == record.Authorised || k.Status == record.AwaitingAuthorisation) && k.ExpirationDateTime <= c.cfg.Clock().UnixMilli() {
		now = string(record.Expired)
	}
	return consentLine{k, now}
}

func (c *Console) consents(w http.ResponseWriter, r *http.Request, v *visitor) {
	l, ok := c.listed(w, r)
	if !ok {
		return
	}
	status := record.Status(r.URL.Query().Get("status"))
	prefixes := consentsOf(l.Party, status)
	if prefixes == nil {
		c.problem(w, r, http.StatusBadRequest, "There is no such status", "Choose one of the list.")
		return
	}
	ids, next, err := newest(c.cfg.Ledger, prefixes, l.first, l.since, rowsShown)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	l.Next = next
	var lines []consentLine
	for _, id := range ids {
		k, err := load[record.Consent](r.Context(), c.cfg.Ledger, record.ConsentKey(record.ConsentID(id)))
		if err != nil {
			c.failed(w, r, err)
			return
		}
		lines = append(lines, c.withStatus(k))
	}
	c.show(w, r, http.StatusOK, "consents", v, &struct {
		*listing
		Status   record.Status
		Statuses []record.Status
		Consents []consentLine
	}{l, status, record.Statuses(), lines})
}

// consentsOf are the indexes of a party's consents with a status, "": any; nil if
// there is no such status.
func consentsOf(party string, status record.Status) (prefixes []string) {
	for _, s := range record.Statuses() {
		if status == "" || s == status {
			prefixes = append(prefixes, record.ConsentIndexPrefix(record.OrgID(party), s))
		}
	}
	return prefixes
}

func (c *Console) consent(w http.ResponseWriter, r *http.Request, v *visitor) {
	id := record.ConsentID(r.PathValue("id"))
	k, err := load[record.Consent](r.Context(), c.cfg.Ledger, record.ConsentKey(id))
	if err != nil {
		c.missing(w, r, "consent", err)
		return
	}
	usage, err := load[record.Usage](r.Context(), c.cfg.Ledger, record.UsageKey(id))
	if err != nil && !errors.Is(err, errNone) {
		c.failed(w, r, err)
		return
	}
	lines, err := c.uses(r.Context(), id)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	c.show(w, r, http.StatusOK, "consent", v, &struct {
		Consent consentLine
		Usage   *record.Usage // nil: never asked for
		Uses    []requestLine
		More    bool
	}{c.withStatus(k), usage, lines, usage != nil && usage.Requests > uint64(len(lines))})
}

// uses are the newest requests under a consent.
func (c *Console) uses(ctx context.Context, id record.ConsentID) ([]requestLine, error) {
	rows, err := c.cfg.Ledger.Newest(record.RequestConsentPrefix(id), "", rowsShown)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, row := range rows {
		ids = append(ids, record.LastSegment(row.Key))
	}
	return c.requestLines(ctx, ids)
}

// requestLine is a request with what became of it.
type requestLine struct {
	*record.Request
	Receipt *record.Receipt // nil: none yet, or denied
	Pruned  bool            // kept elsewhere
}

// Outcome in one word.
func (l requestLine) Outcome() string {
	switch {
	case l.Pruned:
		return "PRUNED"
	case l.Receipt != nil:
		return string(l.Receipt.Outcome)
	case l.Request.Decision == record.Deny:
		return string(l.Request.Code)
	}
	return "PENDING"
}

func (c *Console) requestLines(ctx context.Context, ids []string) ([]requestLine, error) {
	var lines []requestLine
	for _, id := range ids {
		q, err := load[record.Request](ctx, c.cfg.Ledger, record.RequestKey(record.RequestID(id)))
		if api.CodeOf(err) == assentv1.Code_CODE_PRUNED {
			lines = append(lines, requestLine{Request: &record.Request{RequestID: record.RequestID(id)}, Pruned: true})
			continue
		}
		if err != nil {
			return nil, err
		}
		receipt, err := load[record.Receipt](ctx, c.cfg.Ledger, record.ReceiptKey(q.RequestID))
		if err != nil && !errors.Is(err, errNone) && api.CodeOf(err) != assentv1.Code_CODE_PRUNED {
			return nil, err
		}
		lines = append(lines, requestLine{Request: q, Receipt: receipt})
	}
	return lines, nil
}

func (c *Console) requests(w http.ResponseWriter, r *http.Request, v *visitor) {
	l, ok := c.listed(w, r)
	if !ok {
		return
	}
	ids, next, err := newest(c.cfg.Ledger, []string{record.RequestPartyPrefix(record.OrgID(l.Party))}, l.first, l.since, rowsShown)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	l.Next = next
	lines, err := c.requestLines(r.Context(), ids)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	c.show(w, r, http.StatusOK, "requests", v, &struct {
		*listing
		Requests []requestLine
	}{l, lines})
}

func (c *Console) request(w http.ResponseWriter, r *http.Request, v *visitor) {
	id := record.RequestID(r.PathValue("id"))
	if id.Check() != nil {
		c.missing(w, r, "request", errNone)
		return
	}
	q, err := load[record.Request](r.Context(), c.cfg.Ledger, record.RequestKey(id))
	if err != nil {
		c.missing(w, r, "request", err)
		return
	}
	receipt, err := load[record.Receipt](r.Context(), c.cfg.Ledger, record.ReceiptKey(id))
	if err != nil && !errors.Is(err, errNone) {
		c.failed(w, r, err)
		return
	}
	body := &struct {
		requestLine
		Took        time.Duration
		Transaction ledger.Hash
	}{requestLine: requestLine{Request: q, Receipt: receipt}, Transaction: q.BatchID}
	if receipt != nil {
		body.Took = time.Duration(receipt.RecordedAt-q.RequestedAt) * time.Millisecond
	}
	c.show(w, r, http.StatusOK, "request", v, body)
}

func (c *Console) products(w http.ResponseWriter, r *http.Request, v *visitor) {
	rows, err := c.cfg.Ledger.Rows(record.ProductPrefix(), "", maxProducts)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	var products []*record.Product
	for _, row := range rows {
		p, err := record.Load[record.Product](row.Value)
		if err != nil {
			c.failed(w, r, fmt.Errorf("read %s: %w", row.Key, err))
			return
		}
		products = append(products, p)
	}
	c.show(w, r, http.StatusOK, "products", v, &struct {
		Products []*record.Product
		More     bool
	}{products, len(rows) == maxProducts})
}

// maxProducts and maxTemplates bound what one page reads.
const (
	maxProducts  = 200
	maxTemplates = 100
)

func (c *Console) product(w http.ResponseWriter, r *http.Request, v *visitor) {
	id := record.ProductID(r.PathValue("id"))
	p, err := load[record.Product](r.Context(), c.cfg.Ledger, record.ProductKey(id))
	if err != nil {
		c.missing(w, r, "product", err)
		return
	}
	rows, err := c.cfg.Ledger.Rows(record.TemplateIndexPrefix(id), "", maxTemplates)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	var list []*record.Template
	for _, row := range rows {
		t, err := load[record.Template](r.Context(), c.cfg.Ledger, record.TemplateKey(record.TemplateID(record.LastSegment(row.Key))))
		if err != nil {
			c.failed(w, r, err)
			return
		}
		list = append(list, t)
	}
	c.show(w, r, http.StatusOK, "product", v, &struct {
		Product   *record.Product
		Templates []*record.Template
	}{p, list})
}
