package total

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// told is a set in which a subject's figures were told: their total, or with a
// threshold only whether the total reaches it.
type told struct {
	Figures   []record.Figure
	Threshold uint64 `json:",omitempty"`
}

// searchesWith reports whether t and before compare this bank's figure of one epoch
// with two thresholds: with some more of them, a search for the total. Which other
// banks sit in the two sets, and by which templates, is no excuse: a bank where the
// subject owes nothing changes the set and not the total.
func (t *told) searchesWith(before *told, bank record.OrgID) bool {
	if t.Threshold == 0 || before.Threshold == 0 || t.Threshold == before.Threshold {
		return false
	}
	epoch, sat := t.epochOf(bank)
	was, satBefore := before.epochOf(bank)
	return sat && satBefore && epoch == was
}

func (t *told) epochOf(bank record.OrgID) (uint64, bool) {
	i := slices.IndexFunc(t.Figures, func(f record.Figure) bool { return f.Bank == bank })
	if i < 0 {
		return 0, false
	}
	return t.Figures[i].Epoch, true
}

// encode makes a row of total_told: the figures alone for a total, as rows always
// were, or an object with the threshold.
func (t *told) encode() (string, error) {
	var b []byte
	var err error
	if t.Threshold == 0 {
		b, err = json.Marshal(t.Figures)
	} else {
		b, err = json.Marshal(t)
	}
	return string(b), err
}

// decodeTold reads a row of total_told.
func decodeTold(text string) (t told, err error) {
	if strings.HasPrefix(text, "{") {
		if err = json.Unmarshal([]byte(text), &t); err == nil && t.Threshold == 0 {
			err = fmt.Errorf("a set without its threshold")
		}
	} else {
		err = json.Unmarshal([]byte(text), &t.Figures)
	}
	if err != nil {
		return told{}, err
	}
	if n := len(t.Figures); n < record.MinExposureBanks || n > record.MaxExposureBanks {
		return told{}, fmt.Errorf("a set of %d banks", n)
	}
	return t, nil
}
