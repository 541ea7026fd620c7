package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// well are the facts about a validator of four in good order.
func well() *Facts {
	key := func(name, use, public string) Key {
		return Key{Name: name, Use: use, Public: public, Created: now.AddDate(0, -1, 0)}
	}
	ledger := &OnLedger{
		VoteKeys: []string{"0xv"}, HostKey: "0xh", SPKI: "0xs", TxKey: "0xt", Answers: true,
		DataKeys: []DataKey{{ID: "d1", Until: now.AddDate(0, 6, 0)}, {ID: "old", Until: now.AddDate(0, -1, 0)}, {ID: "gone", Until: now.AddDate(1, 0, 0), Revoked: true}},
	}
	return &Facts{
		Now: now, Running: true, Software: "1.0", ProtocolKnown: 1, Ledger: ledger,
		Keys:   []Key{key("vote", "vote", "0xv"), key("host", "host", "0xh"), key("tls", "tls", "0xs"), key("tx", "tx", "0xt"), key("data", "data", "d1"), key("tag", "tag", "")},
		Disk:   &Disk{Free: 100 << 30, Data: 1 << 30, Age: 30 * 24 * time.Hour, Fsync: time.Millisecond, Timed: true},
		Clocks: []Clock{{"n2", 100 * time.Millisecond}, {"n3", -200 * time.Millisecond}, {"n4", time.Hour}},
		Ports:  []Port{{Key: "api.listen", Addr: "127.0.0.1:7443"}},
		Vaults: []Vault{{Product: "bank.card", Connector: "sqlite", State: "ok"}},
		Node: &Node{
			NodeID: "n1", Member: "bank", Software: "1.0", Height: 10, Executed: 10, BlockTime: now.Add(-time.Hour), Protocol: 1,
			Validators: 4, Reached: 4, Orders: true, Leader: 2, Engine: true, ViewAge: time.Second,
			Peers: []Peer{
				{NodeID: "n2", Member: "b", Validator: 2, Connected: true, RTT: time.Millisecond, Software: "1.0", Protocol: 1, ProtocolKnown: 1},
				{NodeID: "n3", Member: "c", Validator: 3, Connected: true, Software: "0.9"}, {NodeID: "o", Member: "c"},
			},
		},
	}
}

func TestAllIsWell(t *testing.T) {
	r := Judge(well())
	for _, f := range r.Findings {
		if f.Level != OK || f.Remedy != "" || !strings.HasSuffix(f.What, ".") {
			t.Errorf("%+v", f)
		}
	}
	if r.Level != OK || r.Exit() != 0 || len(r.Findings) < 20 {
		t.Errorf("%s with %d findings", r.Level, len(r.Findings))
	}
}

// Who was removed is no finding to act on any more.
func TestALiarThatWasRemovedIsHistory(t *testing.T) {
	f := well()
	f.Node.Accusations = []Accusation{{Validator: 3, Member: "c", Proven: true, Times: 1, Height: 7, File: "f.json"}, {Validator: 4, Kind: "two-votes", Times: 1}}
	if r := Judge(f); r.Level != OK {
		t.Errorf("%+v", r.Findings)
	}
}

// restored is how a node is that came from a backup and is like any other since.
func restored(change func(*Restored)) *Restored {
	r := &Restored{Made: "2026-11-20T00:00:00Z", On: "2026-11-22T00:00:00Z", Validator: 3, VoteKey: "0xnew", Admitted: true, CaughtUp: true, Erased: true}
	change(r)
	return r
}

// What must be done about a restored node is said to the letter.
func TestARestoredNodeIsToldWhatToDo(t *testing.T) {
	for want, change := range map[string]func(*Restored){
		"rotate-vote-key 3 0xnew":   func(r *Restored) { r.Admitted = false },
		"keys new NAME --kind vote": func(r *Restored) { r.Admitted, r.VoteKey = false, "" },
		"epoch open bank.card":      func(r *Restored) { r.Closed = []ClosedEpoch{{"bank.card", 4}} },
	} {
		f := well()
		f.Node.Restored = restored(change)
		found := false
		for _, x := range Judge(f).Findings {
			found = found || x.Check == "restored" && strings.Contains(x.Remedy, want)
		}
		if !found {
			t.Errorf("nothing says %q", want)
		}
	}
}

// Each finding is made to come out badly, alone.
func TestWhatCanBeWrong(t *testing.T) {
	boom := errors.New("it is broken")
	stopped := func(f *Facts) { f.Running, f.Stores, f.Node.Peers = false, &Stores{}, nil }
	for name, c := range map[string]struct {
		spoil func(*Facts)
		check string
		level Level
		what  string
	}{
		"config":              {func(f *Facts) { f.Config = boom }, "config", Fail, "broken"},
		"runs, silent":        {func(f *Facts) { f.Node, f.NodeErr = nil, "metrics.listen is off" }, "node", Warn, "metrics.listen is off"},
		"stopped":             {stopped, "node", Warn, "stopped, at height 10"},
		"stopped, unreadable": {func(f *Facts) { f.Running, f.Node, f.NodeErr = false, nil, "no ledger" }, "node", Fail, "no ledger"},
		"halted": {func(f *Facts) {
			f.Node.Halt = &Halt{Height: 9, What: "a quorum certified another result", Block: 7, Tx: "0xaa", Contract: "access", Function: "Request", Key: "access/usage/1", Difference: "it wrote another value here"}
		}, "halt", Fail, "halted at height 9 and has not passed it since: a quorum certified another result; transaction 0xaa of block 7 (access.Request): it wrote another value here, key access/usage/1."},
		"halted, not found": {func(f *Facts) { f.Node.Halt = &Halt{Height: 9, What: "a contract does not return"} }, "halt", Fail, "since: a contract does not return."},
		"keystore":          {func(f *Facts) { f.Keystore, f.Keys = boom, nil; f.Ledger = nil }, "keystore", Fail, "broken"},
		"password":          {func(f *Facts) { f.Keys[5].Err = errors.New("wrong password") }, "key tag", Fail, "wrong password"},
		"vote key":          {func(f *Facts) { f.Keys[0].Public = "0xx" }, "key vote", Fail, "no validator"},
		"host key unknown":  {func(f *Facts) { f.Ledger.HostKey = "" }, "key host", Fail, "does not name"},
		"host key":          {func(f *Facts) { f.Keys[1].Public = "0xx" }, "key host", Fail, "another host key"},
		"no record":         {func(f *Facts) { f.Ledger.SPKI = "" }, "key tls", Fail, "no record"},
		"tls key":           {func(f *Facts) { f.Keys[2].Public = "0xx" }, "key tls", Fail, "another TLS key"},
		"tx key":            {func(f *Facts) { f.Keys[3].Public = "0xx" }, "key tx", Fail, "receipts are refused"},
		"data key unknown":  {func(f *Facts) { f.Keys = append(f.Keys, Key{Name: "data-2", Use: "data", Public: "d2"}) }, "key data-2", Fail, "no data key d2"},
		"old key":           {func(f *Facts) { f.Keys[0].Created = now.AddDate(-3, 0, 0) }, "key vote", Warn, "days ago"},
		"data key ends":     {func(f *Facts) { f.Ledger.DataKeys[0].Until = now.AddDate(0, 0, 20) }, "data keys", Warn, "20 days"},
		"data key ended":    {func(f *Facts) { f.Ledger.DataKeys[0].Until = now }, "data keys", Fail, "No data key"},
		"data key elsewhere": {func(f *Facts) {
			f.Ledger.DataKeys = append(f.Ledger.DataKeys, DataKey{ID: "d9", Until: now.AddDate(0, 1, 0)})
		}, "data key d9", Fail, "private half is not here"},
		"standing":           {func(f *Facts) { f.Node.Standing = "this node was removed" }, "standing", Fail, "removed"},
		"restored, observes": {func(f *Facts) { f.Node.Restored = restored(func(r *Restored) { r.Admitted = false }) }, "restored", Fail, "validator 3 still has the vote key"},
		"restored, behind":   {func(f *Facts) { f.Node.Restored = restored(func(r *Restored) { r.CaughtUp = false }) }, "restored", Warn, "not caught up"},
		"restored, erasures": {func(f *Facts) { f.Node.Restored = restored(func(r *Restored) { r.Erased = false }) }, "restored", Warn, "destroyed again"},
		"restored, lost answers": {func(f *Facts) {
			f.Node.Restored = restored(func(r *Restored) { r.Closed = []ClosedEpoch{{"bank.card", 4}} })
		}, "restored", Warn, "epoch 4 of product bank.card"},
		"block store":          {func(f *Facts) { stopped(f); f.Stores.Blocks = boom }, "block store", Fail, "broken"},
		"state":                {func(f *Facts) { stopped(f); f.Stores.State = boom }, "state", Fail, "broken"},
		"ordering log":         {func(f *Facts) { stopped(f); f.Stores.Log = boom }, "ordering log", Fail, "broken"},
		"private database":     {func(f *Facts) { stopped(f); f.Stores.Private = boom }, "private database", Fail, "broken"},
		"clock, a little":      {func(f *Facts) { f.Clocks = []Clock{{"n2", 2 * time.Second}} }, "clock", Warn, "2s"},
		"clock":                {func(f *Facts) { f.Clocks = []Clock{{"n2", -9 * time.Second}} }, "clock", Fail, "-9s"},
		"clock behind a block": {func(f *Facts) { f.Node.BlockTime = now.Add(time.Minute) }, "clock", Fail, "1m0s ahead"},
		"disk":                 {func(f *Facts) { f.Disk = &Disk{Err: boom} }, "disk", Fail, "broken"},
		"disk full":            {func(f *Facts) { f.Disk.Free = 1 << 20 }, "disk space", Fail, "1024 KiB"},
		"disk nearly full":     {func(f *Facts) { f.Disk.Free = 1 << 30 }, "disk space", Warn, "1024 MiB"},
		"disk growth":          {func(f *Facts) { f.Disk.Data, f.Disk.Free = 300<<30, 50<<30 }, "disk space", Warn, "enough for 5 days"},
		"disk slow":            {func(f *Facts) { f.Disk.Fsync = 30 * time.Millisecond }, "disk latency", Warn, "30ms"},
		"disk very slow":       {func(f *Facts) { f.Disk.Fsync = time.Second }, "disk latency", Fail, "1s"},
		"port":                 {func(f *Facts) { f.Ports[0].Err = errors.New("connection refused") }, "port api.listen", Fail, "Nobody answers"},
		"port taken":           {func(f *Facts) { stopped(f); f.Ports[0].Err = errors.New("in use") }, "port api.listen", Fail, "cannot be taken"},
		"margin":               {func(f *Facts) { f.Node.Reached = 3 }, "quorum margin", Warn, "no further one may fail"},
		"some missing":         {func(f *Facts) { f.Node.Validators, f.Node.Reached = 7, 6 }, "quorum margin", Warn, "1 more may fail"},
		"no quorum":            {func(f *Facts) { f.Node.Reached = 2 }, "quorum margin", Fail, "does not order"},
		"two votes, proven": {func(f *Facts) {
			f.Node.Accusations = []Accusation{{Validator: 3, Member: "c", Proven: true, InForce: true, Times: 2, Height: 7, File: "f.json"}}
		}, "validator 3", Fail, "voted for two blocks"},
		"two votes, seen": {func(f *Facts) {
			f.Node.Accusations = []Accusation{{Validator: 3, Member: "c", Kind: "two-votes", InForce: true, Times: 2, Height: 7}}
		}, "validator 3", Fail, "nothing proves it"},
		"evidence damaged": {func(f *Facts) { f.Node.Accusations = []Accusation{{Damaged: true, File: "f.json"}} }, "evidence", Warn, "f.json"},
		"engine":           {func(f *Facts) { f.Node.Engine = false }, "ordering", Fail, "does not run"},
		"no leader":        {func(f *Facts) { f.Node.Leader = 0 }, "ordering", Fail, "no leader"},
		"peer":             {func(f *Facts) { f.Node.Peers[0].Connected, f.Node.Peers[0].LastError = false, "refused" }, "peer n2", Warn, "validator 2 of b is not connected: refused"},
		"peer far":         {func(f *Facts) { f.Node.Peers[0].RTT = time.Second }, "peer n2", Warn, "1s away"},
		"lag":              {func(f *Facts) { f.Node.Height = 20 }, "lag", Warn, "Block 20 is here, 10 is executed"},
		"long lag":         {func(f *Facts) { f.Node.Height = 100 }, "lag", Fail, "100"},
		"view":             {func(f *Facts) { f.Node.ViewAge = 10 * time.Second }, "view age", Warn, "10s"},
		"old view":         {func(f *Facts) { f.Node.ViewAge = time.Hour }, "view age", Fail, "1h"},
		"no view":          {func(f *Facts) { f.Node.ViewAge = -1 }, "view age", Fail, "not established"},
		"protocol":         {func(f *Facts) { f.Node.Protocol = 2 }, "protocol", Fail, "protocol 2"},
		"another program":  {func(f *Facts) { f.Software = "1.1" }, "version", Warn, "1.1"},
		"a peer too old":   {func(f *Facts) { f.ProtocolKnown = 2 }, "version of n2", Warn, "knows protocol 1"},
		"vault down":       {func(f *Facts) { f.Vaults[0].State, f.Vaults[0].Why = "unavailable", "it is down" }, "vault bank.card", Fail, "down"},
		"vault schema":     {func(f *Facts) { f.Vaults[0].State, f.Vaults[0].Why = "schema", "a column is gone." }, "vault bank.card", Fail, "column is gone."},
		"vault account":    {func(f *Facts) { f.Vaults[0].State, f.Vaults[0].Why = "account", "it may write" }, "vault bank.card", Fail, "may write"},
		"outbox":           {func(f *Facts) { f.Node.OutboxItems, f.Node.OutboxOldest = 3, 5*time.Minute }, "outbox", Warn, "5m"},
		"outbox, long":     {func(f *Facts) { f.Node.OutboxItems, f.Node.OutboxOldest = 3, 5*time.Hour }, "outbox", Fail, "5h"},
	} {
		t.Run(name, func(t *testing.T) {
			f := well()
			c.spoil(f)
			r := Judge(f)
			found := false
			for _, x := range r.Findings {
				if x.Check == c.check {
					found = true
					if x.Level != c.level || !strings.Contains(x.What, c.what) {
						t.Errorf("%+v", x)
					}
				} else if x.Level == Fail && c.level != Fail {
					t.Errorf("another finding is worse: %+v", x)
				}
				if (x.Remedy == "") != (x.Level == OK) || strings.HasSuffix(x.What, "..") {
					t.Errorf("%+v", x)
				}
			}
			if !found {
				t.Errorf("no finding %s", c.check)
			}
			if r.Level != c.level || r.Exit() != map[Level]int{Warn: 1, Fail: 2}[c.level] {
				t.Errorf("the report is at level %s", r.Level)
			}
		})
	}
}

// A rotation under way, a locked key and a lonely node are no faults.
func TestWhatIsNotWrong(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"next key":             func(f *Facts) { f.Keys = append(f.Keys, Key{Name: "vote-2", Use: "vote", Next: true, Public: "0xnew"}) },
		"restored long ago":    func(f *Facts) { f.Node.Restored = restored(func(*Restored) {}) },
		"a restored observer":  func(f *Facts) { f.Node.Restored = restored(func(r *Restored) { r.Validator, r.Admitted = 0, false }) },
		"locked":               func(f *Facts) { f.Keys[0].Locked = true },
		"no clocks":            func(f *Facts) { f.Clocks = nil },
		"one alone":            func(f *Facts) { f.Node.Validators, f.Node.Reached, f.Node.Peers = 1, 1, nil },
		"observer":             func(f *Facts) { f.Keys = f.Keys[1:]; f.Node.Orders, f.Node.Engine, f.Node.Leader = false, false, 0 },
		"another node answers": func(f *Facts) { f.Ledger.Answers, f.Ledger.DataKeys = false, nil },
		"young items":          func(f *Facts) { f.Node.OutboxItems, f.Node.OutboxOldest = 100, time.Second },
	} {
		f := well()
		change(f)
		if r := Judge(f); r.Level != OK {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
