package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// blocksShown is how many blocks a page lists, rowsShown how many records.
const (
	blocksShown = 20
	rowsShown   = 25
)

type blockLine struct {
	Height       ledger.Height
	Time         uint64
	Hash         ledger.Hash
	Transactions int
	Pruned       bool
}

// blocks lists blocks from the newest, or from one, down.
func (c *Console) blocks(w http.ResponseWriter, r *http.Request, v *visitor) {
	top := c.cfg.Node.Status().Height
	from := top
	if s := r.URL.Query().Get("from"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			c.problem(w, r, http.StatusBadRequest, "The height is no number", "Give a height of digits only.")
			return
		}
		from = min(top, ledger.Height(n))
	}
	var lines []blockLine
	for h := from; len(lines) < blocksShown; h-- {
		b, _, err := c.cfg.Ledger.Block(r.Context(), h)
		switch {
		case api.CodeOf(err) == assentv1.Code_CODE_PRUNED:
			lines = append(lines, blockLine{Height: h, Pruned: true})
		case err != nil:
			c.failed(w, r, err)
			return
		default:
			lines = append(lines, blockLine{h, b.Header.Time, b.Header.Hash(), len(b.Requests), false})
		}
		if h == 0 {
			break
		}
	}
	last := lines[len(lines)-1].Height
	c.show(w, r, http.StatusOK, "blocks", v, &struct {
		Blocks []blockLine
		Top    ledger.Height
		Newer  bool
		Older  bool
		Up     ledger.Height
		Down   ledger.Height
	}{lines, top, from < top, last > 0, min(top, from+blocksShown), last - min(last, 1)})
}

type callLine struct {
	ID                      ledger.Hash
	Org, Contract, Function string
	Other                   string // what it is, if no call
}

// lineOf says what a request of a block is.
func lineOf(raw []byte) callLine {
	if tx, err := ledger.DecodeTransaction(raw); err == nil {
		return callLine{ID: tx.ID(), Org: tx.Payload.Org, Contract: tx.Payload.Contract, Function: tx.Payload.Function}
	}
	if u, err := ledger.DecodeUpdate(raw); err == nil {
		return callLine{ID: ledger.Sum(raw), Other: fmt.Sprintf("update of the configuration to number %d", u.Config.Seq)}
	}
	if _, err := ledger.DecodeSeal(raw); err == nil {
		return callLine{ID: ledger.Sum(raw), Other: "seal: the block exists to certify roots"}
	}
	return callLine{ID: ledger.Sum(raw), Other: "of a kind that this software does not know"}
}

func (c *Console) block(w http.ResponseWriter, r *http.Request, v *visitor) {
	n, err := strconv.ParseUint(r.PathValue("height"), 10, 64)
	if err != nil {
		c.problem(w, r, http.StatusBadRequest, "The height is no number", "Give a height of digits only.")
		return
	}
	b, cert, err := c.cfg.Ledger.Block(r.Context(), ledger.Height(n))
	if err != nil {
		c.failed(w, r, err)
		return
	}
	calls := make([]callLine, len(b.Requests))
	for i, raw := range b.Requests {
		calls[i] = lineOf(raw)
	}
	var voters []string
	if cert != nil {
		for _, vote := range cert.Votes {
			voters = append(voters, c.validator(vote.Validator))
		}
		slices.Sort(voters)
	}
	c.show(w, r, http.StatusOK, "block", v, &struct {
		Header      *ledger.Header
		Hash        ledger.Hash
		Calls       []callLine
		Voters      []string
		View        uint64
		Newest      ledger.Height
		Above, Down ledger.Height
	}{&b.Header, b.Header.Hash(), calls, voters, viewOf(cert), c.cfg.Node.Status().Height, b.Header.Height + 1, b.Header.Height - min(b.Header.Height, 1)})
}

func viewOf(cert *ledger.Certificate) uint64 {
	if cert == nil {
		return 0
	}
	return cert.View
}

// validator names a validator for people, by the config in force now.
func (c *Console) validator(id uint64) string {
	for _, x := range c.cfg.Ledger.Config().Validators {
		if x.ID == id {
			return strconv.FormatUint(id, 10) + " (" + x.Member + ")"
		}
	}
	return strconv.FormatUint(id, 10)
}

// argument is one argument of a call as people read it.
type argument struct{ Text string }

// maxArgument bounds how much of an argument is shown.
const maxArgument = 8 << 10

func (c *Console) transaction(w http.ResponseWriter, r *http.Request, v *visitor) {
	parsed, err := record.ParseHash(r.PathValue("id"))
	id := ledger.Hash(parsed)
	if err != nil {
		c.problem(w, r, http.StatusBadRequest, "That is no transaction's id", "An id is 0x and 64 hexadecimal digits.")
		return
	}
	o, err := c.cfg.Ledger.Outcome(r.Context(), id)
	if err != nil {
		c.failed(w, r, err)
		return
	}
	if o == nil {
		c.problem(w, r, http.StatusNotFound, "No executed block has that transaction", "It may be on its way: look again, or ask whoever sent it.")
		return
	}
	tx, err := c.find1(r.Context(), o.Height, id)
	if err != nil && api.CodeOf(err) != assentv1.Code_CODE_PRUNED {
		c.failed(w, r, err)
		return
	}
	body := &struct {
		ID      ledger.Hash
		Outcome *Outcome
		Payload *ledger.Payload // nil: its block is pruned here
		Args    []argument
	}{ID: id, Outcome: o}
	if tx != nil {
		body.Payload = &tx.Payload
		for _, a := range tx.Payload.Args {
			body.Args = append(body.Args, argument{readable(a)})
		}
	}
	c.show(w, r, http.StatusOK, "transaction", v, body)
}

// find1 finds a transaction in its block.
func (c *Console) find1(ctx context.Context, h ledger.Height, id ledger.Hash) (*ledger.Transaction, error) {
	b, _, err := c.cfg.Ledger.Block(ctx, h)
	if err != nil {
		return nil, err
	}
	for _, raw := range b.Requests {
		if tx, err := ledger.DecodeTransaction(raw); err == nil && tx.ID() == id {
			return tx, nil
		}
	}
	return nil, nil
}

// readable is an argument with its JSON spread out.
func readable(a []byte) string {
	if len(a) > maxArgument {
		return string(a[:maxArgument]) + " …"
	}
	var v any
	if json.Unmarshal(a, &v) != nil {
		return strings.ToValidUTF8(string(a), "�")
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return string(a)
	}
	return string(out)
}

// find goes to what somebody pasted: a height, or the id of a transaction, consent or
// request.
func (c *Console) find(w http.ResponseWriter, r *http.Request, v *visitor) {
	what := strings.TrimSpace(r.URL.Query().Get("what"))
	to := ""
	if _, err := strconv.ParseUint(what, 10, 64); err == nil {
		to = "blocks/" + what
	} else if at, ok, err := c.recordNamed(r.Context(), what); err != nil {
		c.failed(w, r, err)
		return
	} else if ok {
		to = at
	} else if _, err := record.ParseHash(what); err == nil {
		to = "transactions/" + what
	}
	if to == "" {
		c.problem(w, r, http.StatusNotFound, "Nothing is known under that name", "Paste a height, or the whole id of a transaction, consent, request or product.")
		return
	}
	http.Redirect(w, r, Path+to, http.StatusSeeOther)
}
