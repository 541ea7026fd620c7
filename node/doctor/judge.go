package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of what is in order.
const (
	clockWarn, clockFail   = 1500 * time.Millisecond, 4 * time.Second // validators refuse blocks of 5 s
	freeWarn, freeFail     = 2 << 30, 256 << 20                       // bytes; below the latter a node is not ready
	daysWarn               = 14                                       // of growth that still fits
	fsyncWarn, fsyncFail   = 20 * time.Millisecond, 200 * time.Millisecond
	rttWarn                = 500 * time.Millisecond
	lagWarn, lagFail       = 8, 32 // blocks
	viewWarn, viewFail     = 5 * time.Second, time.Minute
	expiryWarn             = 30 * 24 * time.Hour
	keyOld                 = 2 * 365 * 24 * time.Hour
	outboxWarn, outboxFail = time.Minute, time.Hour
)

func (j *judge) running() {
	switch {
	case j.Running && j.Node == nil:
		j.say("node", Warn, "The node runs, and does not tell how it is: "+j.NodeErr+".", "Set metrics.listen to a loopback address and restart it, so that the doctor can ask.")
	case j.Running:
		j.say("node", OK, "The node runs: "+j.Node.NodeID+" of "+j.Node.Member+".", "")
	case j.Node == nil:
		j.say("node", Fail, "The node is stopped and its ledger cannot be read: "+j.NodeErr+".", "Mend what is named; assentd verify looks at everything a stopped node keeps.")
	default:
		j.say("node", Warn, fmt.Sprintf("The node is stopped, at height %d.", j.Node.Height), "Start it with assentd start; what only a running node knows was not looked at.")
	}
}

func (j *judge) keystore() {
	if j.Keystore != nil {
		j.say("keystore", Fail, j.Keystore.Error(), "Restore the key directory from its backup, mode 0700, or correct identity.keysDir.")
		return
	}
	j.say("keystore", OK, fmt.Sprintf("The key directory is closed to others and holds the %d keys that the configuration names.", len(j.Keys)), "")
}

func (j *judge) keys() {
	for _, k := range j.Keys {
		check := "key " + k.Name
		wrong, remedy := j.mismatch(&k)
		switch {
		case k.Err != nil:
			j.say(check, Fail, k.Err.Error(), "Restore the key from its backup, or correct identity.password; without it the node does not start.")
		case wrong != "":
			j.say(check, Fail, wrong, remedy)
		case !j.Now.Before(k.Created.Add(keyOld)) && !k.Created.IsZero():
			j.say(check, Warn, fmt.Sprintf("The %s key was made %d days ago.", k.Use, int(j.Now.Sub(k.Created).Hours()/24)), "Rotate it when convenient: keys are better young than known.")
		case k.Locked:
			j.say(check, OK, "The "+k.Use+" key is there; its password was not asked for.", "")
		default:
			j.say(check, OK, "The "+k.Use+" key opens"+j.matched(&k)+".", "")
		}
	}
}

func (j *judge) matched(k *Key) string {
	if j.Ledger == nil || k.Use == "tag" || k.Next {
		return ""
	}
	return " and is the one on the ledger"
}

// mismatch says how a key differs from what the ledger names.
func (j *judge) mismatch(k *Key) (what, remedy string) {
	if j.Ledger == nil || k.Next || k.Public == "" {
		return "", ""
	}
	l := j.Ledger
	record := "Have an admin put the node's card on the ledger (assentd card --record | assent member node set -), or name the right key."
	switch k.Use {
	case "vote":
		if !slices.Contains(l.VoteKeys, k.Public) {
			return "The ledger names no validator of this member with vote key " + k.Public + ".", "Name the vote key of the config in force, or have the members admit this one (assent member propose)."
		}
	case "host":
		if l.HostKey == "" {
			return "The ledger does not name this node's host key: the others refuse its connections.", record
		}
		if l.HostKey != k.Public {
			return "The ledger names another host key for this node.", record
		}
	case "tls":
		if l.SPKI != "" && l.SPKI != k.Public {
			return "The ledger names another TLS key for this node's API: careful clients refuse it.", record
		}
		if l.SPKI == "" {
			return "The ledger has no record of this node: clients cannot check its TLS key.", record
		}
	case "tx":
		if l.TxKey != k.Public {
			return "The ledger does not name this node's transaction key: its receipts are refused.", record
		}
	case "data":
		if l.Answers && !slices.ContainsFunc(l.DataKeys, func(d DataKey) bool { return d.ID == k.Public }) {
			return "The ledger has no data key " + k.Public + " of this member: nothing is sealed to it.", "Have an admin set it (assent member key add), or take it out of identity.dataKeys once nothing sealed to it is left."
		}
	}
	return "", ""
}

// dataKeys: when those to which others seal will end. They are the answering
// node's business.
func (j *judge) dataKeys() {
	if j.Ledger == nil || !j.Ledger.Answers {
		return
	}
	var here []string
	for _, k := range j.Keys {
		if k.Use == "data" {
			here = append(here, k.Public)
		}
	}
	var best time.Time
	for _, d := range j.Ledger.DataKeys {
		if d.Revoked || !j.Now.Before(d.Until) {
			continue
		}
		if !slices.Contains(here, d.ID) {
			j.say("data key "+d.ID, Fail, "Others seal to this data key and its private half is not here: such consents are not answered.", "Restore the key and name it in identity.dataKeys, or revoke it on the ledger.")
			continue
		}
		if d.Until.After(best) {
			best = d.Until
		}
	}
	left := best.Sub(j.Now)
	renew := "Have an admin set the next one (assent member key add) well before; both may be in force meanwhile."
	switch {
	case best.IsZero():
		j.say("data keys", Fail, "No data key of this node is in force: nobody can seal a consent to the member.", renew)
	case left < expiryWarn:
		j.say("data keys", Warn, fmt.Sprintf("The last data key in force ends in %d days.", int(left.Hours()/24)), renew)
	default:
		j.say("data keys", OK, fmt.Sprintf("A data key is in force for another %d days.", int(left.Hours()/24)), "")
	}
}

func (j *judge) standing() {
	if j.Node == nil || !j.Running {
		return
	}
	if j.Node.Standing != "" {
		j.say("standing", Fail, j.Node.Standing+".", "Do what it says; until then the node serves what it knows and votes for nothing.")
		return
	}
	what := "The ledger names this node as an observer."
	if j.Node.Orders {
		what = "The ledger names this node as a validator."
	}
	j.say("standing", OK, what, "")
}

func (j *judge) stores() {
	if j.Stores == nil {
		return
	}
	for _, s := range []struct {
		check  string
		err    error
		remedy string
	}{
		{"block store", j.Stores.Blocks, "Move data/blocks away and let the node fetch the ledger again; on a validator restore it with data/wal from one copy, or go on as an observer."},
		{"state", j.Stores.State, "Move data/state away and start the node: it executes the blocks anew."},
		{"ordering log", j.Stores.Log, "Never start this validator from an old copy: go on as an observer until the members admit a new vote key."},
		{"private database", j.Stores.Private, "Restore data/private.db from its newest copy; on a node that answers, open a new epoch before answering again."},
	} {
		if s.err != nil {
			j.say(s.check, Fail, s.err.Error(), s.remedy)
		} else {
			j.say(s.check, OK, "The "+s.check+" opens and agrees with the rest.", "")
		}
	}
}

func (j *judge) clock() {
	remedy := "Set this machine's clock by NTP (chrony or systemd-timesyncd) and look at the others': validators refuse blocks whose time is 5 s off."
	if j.Node != nil && j.Node.BlockTime.Sub(j.Now) > clockWarn {
		j.say("clock", Fail, fmt.Sprintf("The newest block is %s ahead of this machine's clock.", j.Node.BlockTime.Sub(j.Now).Round(time.Second)), remedy)
		return
	}
	if len(j.Clocks) == 0 {
		j.say("clock", OK, "No other node's clock could be read from here; this one's does not lie before the newest block.", "")
		return
	}
	// The median: one wrong clock among the others' is not this machine's fault.
	ahead := make([]time.Duration, 0, len(j.Clocks))
	for _, c := range j.Clocks {
		ahead = append(ahead, c.Ahead)
	}
	slices.Sort(ahead)
	off := ahead[len(ahead)/2]
	level := OK
	switch {
	case off.Abs() >= clockFail:
		level = Fail
	case off.Abs() >= clockWarn:
		level = Warn
	}
	j.say("clock", level, fmt.Sprintf("The clocks of %d other nodes differ from this machine's by %s (median).", len(ahead), off), remedy)
}

func (j *judge) disk() {
	d := j.Disk
	if d == nil || d.Err != nil {
		why := "not looked at"
		if d != nil {
			why = d.Err.Error()
		}
		j.say("disk", Fail, "The data directory cannot be written to: "+why+".", "Correct dataDir, its owner and mode (0700), and the file system.")
		return
	}
	grow := int64(0) // bytes a day, on average so far
	if d.Age > time.Hour {
		grow = int64(float64(d.Data) / (d.Age.Hours() / 24))
	}
	what := fmt.Sprintf("%s are free; the node uses %s", size(d.Free), size(d.Data))
	remedy := "Add space or move other data away; a node whose disk is full stops."
	switch {
	case d.Free < freeFail:
		j.say("disk space", Fail, what+".", remedy)
	case d.Free < freeWarn:
		j.say("disk space", Warn, what+".", remedy)
	case grow > 0 && d.Free/grow < daysWarn:
		j.say("disk space", Warn, fmt.Sprintf("%s and grows by %s a day: enough for %d days.", what, size(grow), d.Free/grow), remedy)
	default:
		j.say("disk space", OK, what+".", "")
	}
	if !d.Timed {
		return
	}
	slow := "Put the data directory on a local solid-state disk: every block waits for it."
	switch what := fmt.Sprintf("A small write takes %s to reach the disk.", d.Fsync.Round(10*time.Microsecond)); {
	case d.Fsync >= fsyncFail:
		j.say("disk latency", Fail, what, slow)
	case d.Fsync >= fsyncWarn:
		j.say("disk latency", Warn, what, slow)
	default:
		j.say("disk latency", OK, what, "")
	}
}

func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func (j *judge) ports() {
	for _, p := range j.Ports {
		switch {
		case p.Err == nil && j.Running:
			j.say("port "+p.Key, OK, "Somebody answers at "+p.Addr+".", "")
		case p.Err == nil:
			j.say("port "+p.Key, OK, p.Addr+" is free for the node.", "")
		case j.Running:
			j.say("port "+p.Key, Fail, "Nobody answers at "+p.Addr+": "+p.Err.Error()+".", "Restart the node; look in its log for what it listens on, and at the firewall of this machine.")
		default:
			j.say("port "+p.Key, Fail, p.Addr+" cannot be taken: "+p.Err.Error()+".", "Stop the program that has it (another node?), or set "+p.Key+" to a free address of this machine.")
		}
	}
}

func (j *judge) quorum() {
	if !j.Running || j.Node == nil || j.Node.Validators == 0 {
		return
	}
	n := j.Node
	f := (n.Validators - 1) / 3
	need := (n.Validators + f + 2) / 2
	margin := n.Reached - need
	what := fmt.Sprintf("%d of %d validators are reached, %d are needed: ", n.Reached, n.Validators, need)
	who := "Bring the missing ones back: see peers; their operators' doctors say why."
	switch {
	case margin < 0:
		j.say("quorum margin", Fail, what+"the network does not order for this node.", who)
	case n.Validators == 1:
		j.say("quorum margin", OK, "One validator orders alone: a network for development.", "")
	case margin == 0 && f > 0:
		j.say("quorum margin", Warn, what+"no further one may fail.", who)
	case n.Reached < n.Validators:
		j.say("quorum margin", Warn, fmt.Sprintf("%s%d more may fail.", what, margin), who)
	default:
		j.say("quorum margin", OK, fmt.Sprintf("%s%d may fail.", what, margin), "")
	}
	if n.Orders && (!n.Engine || n.Leader == 0) {
		j.say("ordering", Fail, "Ordering does not run on this validator, or knows no leader.", "Wait a minute; if it stays, look for the last error in the node's log.")
	}
}

func (j *judge) peers() {
	if !j.Running || j.Node == nil {
		return
	}
	for _, p := range j.Node.Peers {
		kind := "observer"
		if p.Validator != 0 {
			kind = fmt.Sprintf("validator %d", p.Validator)
		}
		name := fmt.Sprintf("%s of %s", kind, p.Member)
		switch {
		case !p.Connected && p.Validator != 0:
			why := "nobody answers"
			if p.LastError != "" {
				why = p.LastError
			}
			j.say("peer "+p.NodeID, Warn, name+" is not connected: "+strings.TrimSuffix(why, ".")+".", "Ask its operator whether it runs, and look at addresses (assent member node) and firewalls on both sides.")
		case !p.Connected:
			j.say("peer "+p.NodeID, OK, name+" is not connected; observers come and go.", "")
		case p.RTT >= rttWarn:
			j.say("peer "+p.NodeID, Warn, fmt.Sprintf("%s is %s away.", name, p.RTT.Round(time.Millisecond)), "Look at the line between the two: each block takes several round trips.")
		case p.RTT > 0:
			j.say("peer "+p.NodeID, OK, fmt.Sprintf("%s is connected, %s away.", name, p.RTT.Round(10*time.Microsecond)), "")
		default:
			j.say("peer "+p.NodeID, OK, name+" is connected.", "")
		}
	}
}

func (j *judge) lag() {
	if j.Node == nil || !j.Running {
		return
	}
	lag := int64(j.Node.Height) - int64(j.Node.Executed)
	what := fmt.Sprintf("Block %d is here, %d is executed.", j.Node.Height, j.Node.Executed)
	switch {
	case lag >= lagFail:
		j.say("lag", Fail, what, "Wait while it catches up; if it stays behind, the machine is too slow or a contract hangs: look in its log.")
	case lag >= lagWarn:
		j.say("lag", Warn, what, "Look again in a minute; if it grows, give the machine more processor or a faster disk.")
	default:
		j.say("lag", OK, what, "")
	}
}

func (j *judge) viewAge() {
	if j.Node == nil || !j.Running {
		return
	}
	age := j.Node.ViewAge
	remedy := "See peers and quorum margin: the node asks the validators how far they are, and too few answer or it lags behind them."
	what := fmt.Sprintf("What this node shows is at most %s old.", age.Round(time.Millisecond))
	switch {
	case age < 0:
		j.say("view age", Fail, "The node has not established how old its view of the ledger is.", remedy)
	case age >= viewFail:
		j.say("view age", Fail, what, remedy)
	case age >= viewWarn:
		j.say("view age", Warn, what, remedy)
	default:
		j.say("view age", OK, what, "")
	}
}

func (j *judge) versions() {
	if j.Node == nil {
		return
	}
	n := j.Node
	if n.Protocol > j.ProtocolKnown {
		j.say("protocol", Fail, fmt.Sprintf("The network runs protocol %d, this program knows up to %d.", n.Protocol, j.ProtocolKnown), "Install a newer release on this node.")
	} else {
		j.say("protocol", OK, fmt.Sprintf("The network runs protocol %d, this program knows up to %d.", n.Protocol, j.ProtocolKnown), "")
	}
	if j.Running && n.Software != j.Software {
		j.say("version", Warn, fmt.Sprintf("The running node is version %s, this program is %s.", n.Software, j.Software), "Restart the node if the new program is meant to run.")
	}
	others := map[string]int{}
	for _, p := range n.Peers {
		if p.Software == "" {
			continue
		}
		others[p.Software]++
		if p.ProtocolKnown != 0 && p.ProtocolKnown < j.ProtocolKnown && p.Validator != 0 {
			j.say("version of "+p.NodeID, Warn, fmt.Sprintf("Validator %d of %s knows protocol %d, this program %d.", p.Validator, p.Member, p.ProtocolKnown, j.ProtocolKnown), "Have it upgraded before the members activate a newer protocol.")
		}
	}
	if len(others) == 0 {
		return
	}
	var list []string
	for v, k := range others {
		list = append(list, fmt.Sprintf("%s (%d)", v, k))
	}
	slices.Sort(list)
	j.say("versions", OK, "Other nodes run "+strings.Join(list, ", ")+"; this program is "+j.Software+".", "")
}

func (j *judge) vaults() {
	for _, v := range j.Vaults {
		check := "vault " + v.Product
		why := strings.TrimSuffix(v.Why, ".") + "."
		switch v.State {
		case "ok":
			j.say(check, OK, "The "+v.Connector+" database answers, fits the mapping and is open for reading only.", "")
		case "schema":
			j.say(check, Fail, why, "Adapt answering.vaults or the database; until then requests for the product are not answered.")
		case "account":
			j.say(check, Fail, why, "Give the node an account that may SELECT and nothing else.")
		default:
			j.say(check, Fail, why, "Bring the database back, or correct answering.vaults; permitted requests wait until their deadline.")
		}
	}
}

func (j *judge) outbox() {
	if j.Node == nil {
		return
	}
	n := j.Node
	what := fmt.Sprintf("%d sealed parts, answers and receipts are on their way; the oldest has waited %s.", n.OutboxItems, n.OutboxOldest.Round(time.Second))
	remedy := "See peers: the node of the recipient is unreachable, or the ledger refuses receipts (look for \"receipt\" in the log)."
	switch {
	case n.OutboxItems > 0 && n.OutboxOldest >= outboxFail:
		j.say("outbox", Fail, what, remedy)
	case n.OutboxItems > 0 && n.OutboxOldest >= outboxWarn:
		j.say("outbox", Warn, what, remedy)
	case n.OutboxItems == 0:
		j.say("outbox", OK, "Nothing waits to be delivered.", "")
	default:
		j.say("outbox", OK, what, "")
	}
}
