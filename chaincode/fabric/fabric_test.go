package fabric

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/internal/peerside"
	"github.com/assent-network/assent/chaincode/internal/service"
	"github.com/assent-network/assent/chaincode/record"
)

const (
	channel                = "lending"
	now      record.Millis = 1_772_323_200_000
	readName               = "membership:GetConfig" // of no argument
	getName                = "membership:GetMember" // of one
	putName                = "membership:SetNode"   // of one, writes
	sameName               = "access:Request"       // of one, writes
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toy stands in for the contracts.
type toy func(s shim.ChaincodeStubInterface) error

func (t toy) Init(s shim.ChaincodeStubInterface) *peer.Response { return t.Invoke(s) }

func (t toy) Invoke(s shim.ChaincodeStubInterface) *peer.Response {
	if err := t(s); err != nil {
		return shim.Error(err.Error())
	}
	creator, _ := s.GetCreator()
	return shim.Success(creator)
}

// side is the peer's side and a client of it.
type side struct {
	*peerside.Peer
	t  testing.TB
	id *peerside.Identity
	n  byte
}

// connect serves cc to a peer.
func connect(t testing.TB, cc shim.Chaincode, batches bool) *side {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, service.Config{CCID: "datashare:1", Listener: listener, Chaincode: cc})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	p, err := peerside.Dial(t.Context(), peerside.Config{Address: listener.Addr().String(), Credentials: insecure.NewCredentials(), Batches: batches})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &side{Peer: p, t: t, id: identity(t, "bank-a")}
}

func identity(t testing.TB, mspID string) *peerside.Identity {
	t.Helper()
	id, err := peerside.NewIdentity(mspID, "client")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (n *side) proposal(args ...string) *peerside.Proposal {
	n.n++
	creator := n.id.Serialized()
	return &peerside.Proposal{
		Channel: channel, TxID: peerside.NewTxID([]byte{n.n}, creator), Creator: creator, Time: time.UnixMilli(now), Args: args,
	}
}

func (n *side) simulate(p *peerside.Proposal) *peerside.Simulation {
	n.t.Helper()
	sim, err := n.Simulate(n.t.Context(), p)
	if err != nil || sim.Failure != "" {
		n.t.Fatal(err, sim)
	}
	return sim
}

// refused returns the text of the refusal.
func (n *side) refused(p *peerside.Proposal) string {
	n.t.Helper()
	sim := n.simulate(p)
	if sim.Endorsed() {
		n.t.Errorf("%v was endorsed", p.Args)
	}
	return sim.Response.GetMessage()
}

func wrapped(t testing.TB, cc shim.Chaincode, cfg Config) *Chaincode {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() record.Millis { return now }
	}
	c, err := wrap(cc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContractSeesACreatorOfThisLedger(t *testing.T) {
	n := connect(t, wrapped(t, toy(func(shim.ChaincodeStubInterface) error { return nil }), Config{}), true)
	got := n.simulate(n.proposal(readName)).Response.GetPayload()
	want, err := record.Encode(record.NewCreator("bank-a", KeyAddress(n.id.Certificate)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("creator is %s, want %s (%v)", got, want, err)
	}
}

func TestOnlyWhatFitsReachesAContract(t *testing.T) {
	n := connect(t, wrapped(t, toy(func(shim.ChaincodeStubInterface) error { return nil }), Config{}), true)
	for _, c := range []struct {
		name   string
		change func(*peerside.Proposal)
		want   string
	}{
		{"an unknown function", func(p *peerside.Proposal) { p.Args[0] = "membership:getMember" }, "UNKNOWN_FUNCTION: "},
		{"the metadata contract", func(p *peerside.Proposal) { p.Args[0] = "org.hyperledger.fabric:GetMetadata" }, "UNKNOWN_FUNCTION: "},
		{"no function", func(p *peerside.Proposal) { p.Args = nil }, "UNKNOWN_FUNCTION: "},
		{"arguments too long", func(p *peerside.Proposal) { p.Args[1] = strings.Repeat("x", maxArguments+1) }, "LIMIT_EXCEEDED: "},
		{"no signed proposal", func(p *peerside.Proposal) { p.Unsigned = true }, "BAD_REQUEST: the call carries"},
		{"another chaincode's call", func(p *peerside.Proposal) { p.Signed = []string{"other:Function", "x"} }, "FORBIDDEN: the call is not"},
		{"an argument added", func(p *peerside.Proposal) { p.Signed = p.Args[:1] }, "FORBIDDEN: the call is not"},
		{"a transaction id of another form", func(p *peerside.Proposal) { p.TxID = "0x" + p.TxID }, "BAD_REQUEST: transaction id"},
		{"an MSP id that is no name", func(p *peerside.Proposal) { p.Creator = identity(t, "Bank A").Serialized() }, "UNKNOWN_KEY: MSP id"},
		{"no creator", func(p *peerside.Proposal) { p.Creator = nil }, "UNKNOWN_KEY: "},
		{"a creator of Assent's own form", func(p *peerside.Proposal) { p.Creator = []byte(`{"address":"system","org":""}`) }, "UNKNOWN_KEY: "},
		{"an Idemix creator", func(p *peerside.Proposal) {
			p.Creator, _ = proto.Marshal(&msp.SerializedIdentity{Mspid: "bank-a", IdBytes: []byte{10, 2, 8, 1}})
		}, "UNKNOWN_KEY: want one X.509"},
		{"a creator of two certificates", func(p *peerside.Proposal) {
			id := identity(t, "bank-a")
			id.PEM = append(id.PEM, id.PEM...)
			p.Creator = id.Serialized()
		}, "UNKNOWN_KEY: want one X.509"},
		{"a time in the past", func(p *peerside.Proposal) { p.Time = p.Time.Add(-30*time.Second - time.Millisecond) }, "BAD_REQUEST: the proposal's time is -30001 ms"},
		{"a time in the future", func(p *peerside.Proposal) { p.Time = p.Time.Add(31 * time.Second) }, "BAD_REQUEST: the proposal's time is 31000 ms"},
	} {
		p := n.proposal(putName, "x")
		c.change(p)
		if got := n.refused(p); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	p := n.proposal(getName, "x")
	p.Time = p.Time.Add(-time.Hour)
	if sim := n.simulate(p); !sim.Endorsed() {
		t.Errorf("a read call is bound to a time: %s", sim.Response.GetMessage())
	}
	for _, at := range []time.Duration{-30 * time.Second, 30 * time.Second} {
		p := n.proposal(putName, "x")
		p.Time = p.Time.Add(at)
		if sim := n.simulate(p); !sim.Endorsed() {
			t.Errorf("time %s off: %s", at, sim.Response.GetMessage())
		}
	}
}

func TestStubHoldsTheContractToTheRules(t *testing.T) {
	put := func(key, value string) toy {
		return func(s shim.ChaincodeStubInterface) error {
			_ = s.PutState(key, []byte(value)) // a contract that does not listen
			return nil
		}
	}
	for _, c := range []struct {
		name, function string
		cc             toy
		want           string
	}{
		{"a read call that writes", getName, put("membership/x", "1"), "READ_ONLY_FUNCTION: "},
		{"a read call that deletes", getName, func(s shim.ChaincodeStubInterface) error { return s.DelState("membership/x") }, "READ_ONLY_FUNCTION: "},
		{"a read call with an event", getName, func(s shim.ChaincodeStubInterface) error { return s.SetEvent("e", nil) }, "READ_ONLY_FUNCTION: "},
		{"another contract's row", putName, put("access/x", "1"), "FORBIDDEN: "},
		{"a row of nobody", putName, put("x", "1"), "FORBIDDEN: "},
		{"an empty value", putName, put("membership/x", ""), "BAD_REQUEST: "},
		{"a long value", putName, put("membership/x", strings.Repeat("x", maxValue+1)), "LIMIT_EXCEEDED: "},
		{"a long key", putName, put("membership/"+strings.Repeat("x", maxKey), "1"), "LIMIT_EXCEEDED: "},
		{"a log row there is", sameName, put("access/log/there", "2"), "ALREADY_EXISTS: "},
		{"an endless loop", putName, func(s shim.ChaincodeStubInterface) error {
			for {
				_ = s.PutState("access/x", []byte("1"))
			}
		}, "FORBIDDEN: "},
		{"too many rows", putName, func(s shim.ChaincodeStubInterface) error {
			for i := range maxWrites + 1 {
				_ = s.PutState("membership/"+strings.Repeat("x", i%500)+string(rune('a'+i/500)), []byte("1"))
			}
			return nil
		}, "LIMIT_EXCEEDED: "},
		{"too many bytes", putName, func(s shim.ChaincodeStubInterface) error {
			for range 20 {
				_ = s.PutState("membership/x", make([]byte, maxValue))
			}
			return nil
		}, "LIMIT_EXCEEDED: more than 4194304 bytes"},
		{"a panic", putName, func(shim.ChaincodeStubInterface) error { panic("SECRET") }, "PANIC: "},
		{"an error without a code", putName, func(shim.ChaincodeStubInterface) error { return context.Canceled }, "PANIC: "},
		{"a refusal", putName, func(shim.ChaincodeStubInterface) error { return record.Refuse(record.CodeWrongState, "no") }, "WRONG_STATE: no"},
		{"a range that cannot be", putName, func(s shim.ChaincodeStubInterface) error {
			_, err := s.GetStateByRange("\x00", "")
			return err
		}, "the peer did not read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			n := connect(t, wrapped(t, c.cc, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}), true)
			n.Load(channel, map[string][]byte{"access/log/there": []byte("1")})
			if got := n.refused(n.proposal(c.function, "SECRET")); !strings.HasPrefix(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if strings.Contains(log.String(), "SECRET") {
				t.Errorf("the log repeats what the call carried: %s", &log)
			}
		})
	}
}

// TestSameLogRowTwiceInABlock: of two transactions that write one log row at the
// same time, Fabric's validation keeps the first, because both read its absence.
func TestSameLogRowTwiceInABlock(t *testing.T) {
	for _, batches := range []bool{true, false} {
		n := connect(t, wrapped(t, toy(func(s shim.ChaincodeStubInterface) error {
			return s.PutState("access/log/receipt/1", []byte("1"))
		}), Config{}), batches)
		first, second := n.simulate(n.proposal(sameName, "x")), n.simulate(n.proposal(sameName, "x"))
		if got := n.Commit(channel, first, second); got[0] != peerside.Valid || got[1] != peerside.Conflict {
			t.Errorf("batches %v: %v", batches, got)
		}
	}
}

func config(t testing.TB, admin *peerside.Identity) string {
	t.Helper()
	data, err := record.Encode(&record.OrderingConfig{
		ChainID: crypto.Keccak256Hash([]byte("chain")), ConfigSeq: 1, ProtocolVersion: 1,
		Members: []record.ConfigMember{{
			AdminKeys: []record.Address{KeyAddress(admin.Certificate)}, OrgID: record.OrgID(admin.MSP),
			Roles: []record.MemberRole{record.DataProvider}, Title: "Bank A",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestConfigNeedsTheOperatorsApproval(t *testing.T) {
	admin, stranger := identity(t, "bank-a"), identity(t, "bank-a")
	cfg := config(t, admin)
	for _, c := range []struct {
		name     string
		approved record.Hash
		by       *peerside.Identity
		init     bool
		args     []string
		want     string // "" : endorsed
	}{
		{"nothing approved", record.Hash{}, admin, true, []string{applyConfig, cfg}, "FORBIDDEN: this member's chaincode service has not approved"},
		{"approved for another channel", Approval("other", cfg), admin, true, []string{applyConfig, cfg}, "FORBIDDEN: this member's"},
		{"another config approved", Approval(channel, config(t, stranger)), admin, true, []string{applyConfig, cfg}, "FORBIDDEN: this member's"},
		{"a caller the config does not name", Approval(channel, cfg), stranger, true, []string{applyConfig, cfg}, "FORBIDDEN: the caller is no admin"},
		{"an admin's key in another MSP", Approval(channel, cfg), &peerside.Identity{MSP: "bank-b", PEM: admin.PEM}, true, []string{applyConfig, cfg}, "FORBIDDEN: the caller is no admin"},
		{"no config at all", Approval(channel, "{}"), admin, true, []string{applyConfig, "{}"}, "BAD_REQUEST: "},
		{"another function first", Approval(channel, cfg), admin, true, []string{putName, "x"}, "FORBIDDEN: the initial call"},
		{"nothing first", Approval(channel, cfg), admin, true, nil, "WRONG_STATE: there is no config yet"},
		{"as it should be", Approval(channel, cfg), admin, true, []string{applyConfig, cfg}, ""},
		{"without Init", Approval(channel, cfg), admin, false, []string{applyConfig, cfg}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cc, err := New(Config{Approved: c.approved, Now: func() record.Millis { return now }})
			if err != nil {
				t.Fatal(err)
			}
			n := connect(t, cc, true)
			n.id = c.by
			p := n.proposal(c.args...)
			p.Init = c.init
			sim, err := n.Simulate(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			text := sim.Failure + sim.Response.GetMessage()
			if c.want != "" {
				if sim.Endorsed() || !strings.HasPrefix(text, c.want) {
					t.Errorf("%q, want %q", text, c.want)
				}
				return
			}
			if !sim.Endorsed() {
				t.Fatal(text)
			}
			n.Commit(channel, sim)
			if got := n.Rows(channel)[record.ConfigKey]; string(got) != cfg {
				t.Errorf("config in state: %s", got)
			}
			again := n.proposal(c.args...)
			if got := n.refused(again); !strings.HasPrefix(got, "WRONG_STATE: ") {
				t.Errorf("the same config again: %q", got)
			}
			upgrade := n.proposal()
			upgrade.Init = true
			if sim := n.simulate(upgrade); !sim.Endorsed() || len(sim.Writes) != 0 {
				t.Errorf("Init after an upgrade: %+v", sim)
			}
		})
	}
}

func TestAddressNamesTheKeyAndIsNoneOfTheOtherNetworks(t *testing.T) {
	id := identity(t, "bank-a")
	a := KeyAddress(id.Certificate)
	if b := KeyAddress(identity(t, "bank-a").Certificate); a == b {
		t.Error("two keys have one address")
	}
	if a == record.Address(crypto.Keccak256(id.Certificate.RawSubjectPublicKeyInfo)[12:]) {
		t.Error("the address is a hash without a domain")
	}
}

func TestConfigOfTheAdapterIsChecked(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Now") {
		t.Errorf("without a clock: %v", err)
	}
	if _, err := New(Config{Now: func() record.Millis { return 0 }, MaxSkew: -1}); err == nil {
		t.Error("a negative skew was taken")
	}
}

func FuzzCreatorOf(f *testing.F) {
	id, err := peerside.NewIdentity("bank-a", "client")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(id.Serialized())
	f.Add([]byte(`{"address":"system","org":""}`))
	f.Add([]byte{10, 6, 'b', 'a', 'n', 'k', '-', 'a'})
	f.Fuzz(func(t *testing.T, data []byte) {
		who, err := CreatorOf(data)
		if err != nil {
			if code, coded := record.CodeOf(err); !coded || code != record.CodeUnknownKey {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if _, err := record.ParseAddress(who.Address); err != nil || who.OrgID.Check() != nil || who.System() {
			t.Errorf("made a creator %+v", who)
		}
		if _, err := record.Encode(who); err != nil {
			t.Error(err)
		}
	})
}
