package doctor

import (
	"fmt"
	"strings"
)

// Halt says where and why a node halted: it does not go on from a result that
// nobody shares.
type Halt struct {
	Height     uint64 `json:"height"` // of the block that it did not pass
	What       string `json:"what"`
	Block      uint64 `json:"block,omitempty"` // in which the first transaction stands that differs; 0: not found
	Tx         string `json:"tx,omitempty"`    // that transaction, or the one that does not return
	Contract   string `json:"contract,omitempty"`
	Function   string `json:"function,omitempty"`
	Key        string `json:"key,omitempty"`        // the first state key that differs, or was used last
	Difference string `json:"difference,omitempty"` // what differs there
}

func (h *Halt) text() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "This node halted at height %d and has not passed it since: %s", h.Height, h.What)
	if h.Tx != "" {
		fmt.Fprintf(b, "; transaction %s", h.Tx)
		if h.Block > 0 {
			fmt.Fprintf(b, " of block %d", h.Block)
		}
		if h.Contract != "" {
			fmt.Fprintf(b, " (%s.%s)", h.Contract, h.Function)
		}
	}
	if h.Difference != "" {
		b.WriteString(": " + h.Difference)
	}
	if h.Key != "" {
		b.WriteString(", key " + h.Key)
	}
	return b.String() + "."
}

// halted says where the node stopped over a result.
func (j *judge) halted() {
	if j.Node == nil || j.Node.Halt == nil {
		return
	}
	j.say("halt", Fail, j.Node.Halt.text(),
		"Run assentd verify, compare this program's version with the other members', move data/state away and start a good program, which executes the blocks again; if it halts again, hand this sentence to the other members and do not serve clients.")
}
