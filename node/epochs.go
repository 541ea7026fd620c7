package node

import (
	"errors"
	"path/filepath"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/epoch"
)

// epochsDir holds the provider's anchored answers: see node/query/epoch.
const epochsDir = "epochs"

// openEpochs opens the anchored answers and removes those nobody waits for any more.
func (n *Node) openEpochs(tag []byte) (err error) {
	if n.epochs, err = epoch.Open(filepath.Join(n.cfg.DataDir, epochsDir), n.chainID, tag); err != nil {
		return err
	}
	n.closeLater(n.epochs.Close)
	return n.pruneEpochs()
}

// pruneEpochs removes the answers of epochs after which another has been open for
// longer than any request could wait, and those that were not anchored in the end.
func (n *Node) pruneEpochs() error {
	now := n.over().UnixMilli()
	removed, err := n.epochs.Remove(func(a *record.Anchor) bool {
		view := n.state.View()
		e, err := loadRecord[record.Epoch](view, record.EpochKey(a.ProductID))
		if err != nil || e.Epoch < a.Epoch {
			return false // it may still be anchored
		}
		kept, err := loadRecord[record.Anchor](view, record.AnchorKey(a.TemplateID, a.Epoch, a.Params))
		if errors.Is(err, errNoRecord) || err == nil && kept.Root != a.Root {
			return true
		}
		return err == nil && e.Epoch > a.Epoch && now > e.OpenedAt+record.MaxAnswerTTL
	})
	if removed > 0 {
		n.log.Info("anchored answers of epochs that are over were removed", "files", removed)
	}
	return err
}
