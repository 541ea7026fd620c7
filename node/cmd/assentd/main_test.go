package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// TestMain lets scripts run assentd out of this test's own binary. Under the race
// detector, which makes the keystore's scrypt ten times slower and finds nothing
// in it, they run an ordinary build; the node's packages race in their own tests.
func TestMain(m *testing.M) {
	commands := map[string]func(){"assentd": main}
	if raceEnabled {
		commands = nil
	}
	testscript.Main(m, commands)
}

func ordinaryBuild(t *testing.T) (dir string) {
	dir = t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "assentd"), ".").CombinedOutput(); err != nil {
		t.Fatalf("build assentd: %v\n%s", err, out)
	}
	return dir
}

// The scripts in testdata call assentd as people do. Beside testscript's own
// commands they have those below.
func TestScripts(t *testing.T) {
	path := os.Getenv("PATH")
	if raceEnabled {
		path = ordinaryBuild(t) + string(filepath.ListSeparator) + path
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"ports":    ports,
			"occupy":   occupy,
			"ready":    ready,
			"members":  members,
			"commit":   commit,
			"sigterm":  sigterm,
			"flip":     flip,
			"tamper":   tamper,
			"reformat": reformat,
			"agekey":   ageKey,
			"waitfor":  waitFor,
		},
		Setup: func(e *testscript.Env) error {
			if raceEnabled {
				e.Setenv("PATH", path)
			}
			e.Setenv("ASSENT_METRICS_LISTEN", config.Off) // scripts run side by side
			return os.WriteFile(filepath.Join(e.WorkDir, "pw"), []byte(password+"\n"), 0o600)
		},
	})
}

const password = "a long password"

// exits CODE PROGRAM ARG… runs a program that must end with the exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// ports NAME… puts free ports into the environment.
func ports(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close() // all at once, so that they differ
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
}

// occupy NAME takes a port until the script ends.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// anyone does not look at the node's key: it talks to loopback.
var anyone = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
	DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
}}

func card(ts *testscript.TestScript, home string) *node.Card {
	var c node.Card
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(home, node.CardFile))), &c))
	return &c
}

// ready HOME waits until the node says that it is ready.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	url := card(ts, args[0]).APIURLs[0] + "/readyz"
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("no answer")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		resp, err := anyone.Get(url)
		if err != nil {
			last = err
			continue
		}
		body, _ := io.ReadAll(resp.Body) // for the message only
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
		last = errors.New(string(body))
	}
	ts.Fatalf("node %s is not ready: %v", args[0], last)
}

// members KEY FILE writes the members file of a network of one bank, whose admin
// has the address that "keys new" printed into KEY.
func members(ts *testscript.TestScript, _ bool, args []string) {
	_, rest, _ := strings.Cut(ts.ReadFile(args[0]), "address")
	address := strings.Fields(rest)[0]
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(`{"network":"test","members":[{"id":"my-bank","name":"My Bank","roles":["DATA_PROVIDER"],"admins":["`+address+`"]}]}`), 0o644))
}

// commit HOME N commits N transactions through the node, as the admin whose key
// is in the directory people.
func commit(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	store, err := keys.Open(ts.MkAbs("people"))
	ts.Check(err)
	admin, err := store.Signer("admin", keys.Client, []byte(password))
	ts.Check(err)
	g, err := config.ReadGenesis(ts.MkAbs(filepath.Join(args[0], "genesis.json")))
	ts.Check(err)
	c := card(ts, args[0])
	now := time.Now()
	bearer, err := token.Sign(admin, token.Claims{
		Org: c.Member, Audience: token.Audience(g.Hash(), c.NodeID), IssuedAt: now, Expires: now.Add(time.Minute),
	})
	ts.Check(err)
	for range n {
		ts.Check(registerSomebody(g.Hash(), c, admin, bearer))
	}
}

func registerSomebody(chain ledger.Hash, c *node.Card, admin ledger.Signer, bearer string) error {
	spec := record.ClientSpec{Label: "somebody", Roles: []record.ClientRole{record.RoleAuditor}}
	rand.Read(spec.Address[:])
	arg, err := record.Encode(&spec)
	if err != nil {
		return err
	}
	from := time.Now().Add(-30 * time.Second)
	p := ledger.Payload{
		ChainID: chain, Org: c.Member, Key: admin.Address(), Contract: "membership", Function: "RegisterClient", Args: [][]byte{arg},
		NotBefore: uint64(from.UnixMilli()), ValidUntil: uint64(from.Add(10 * time.Minute).UnixMilli()),
	}
	rand.Read(p.Nonce[:])
	tx := ledger.NewTransaction(p)
	if err := tx.Sign(admin); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"transaction": base64.StdEncoding.EncodeToString(tx.Encode()), "wait": "WAIT_COMMITTED"})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, c.APIURLs[0]+"/assent.v1.LedgerService/Submit", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := anyone.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if !bytes.Contains(answer, []byte(`"code":"OK"`)) {
		return fmt.Errorf("submit: %s %s", resp.Status, answer)
	}
	return nil
}

// sigterm sends SIGTERM to what runs in the background.
func sigterm(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

// flip PATTERN flips one bit in the middle of the largest file that matches.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	paths, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(paths) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	size := func(path string) int64 {
		fi, err := os.Stat(path)
		ts.Check(err)
		return fi.Size()
	}
	path := slices.MaxFunc(paths, func(a, b string) int { return cmp.Compare(size(a), size(b)) })
	b, err := os.ReadFile(path)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(path, b, 0o600))
}

// tamper DIR PREFIX flips a bit at the end of the value of the last row whose
// key begins with the prefix, in hex, in a goleveldb directory: what somebody
// would do who knows the format.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	prefix, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	rewrite(ts, args[0], []byte(prefix), func(v []byte) []byte {
		v[len(v)-1] ^= 1
		return v
	})
}

// reformat DIR PREFIX writes format version 99 into the row with the prefix: an
// RLP list whose first element is the version.
func reformat(ts *testscript.TestScript, _ bool, args []string) {
	rewrite(ts, args[0], []byte(args[1]), func(v []byte) []byte {
		var list []rlp.RawValue
		ts.Check(rlp.DecodeBytes(v, &list))
		var err error
		list[0], err = rlp.EncodeToBytes(uint64(99))
		ts.Check(err)
		v, err = rlp.EncodeToBytes(list)
		ts.Check(err)
		return v
	})
}

// ageKey NAME makes an age key as age-keygen does, in NAME.key, and NAME.pub.
func ageKey(ts *testscript.TestScript, _ bool, args []string) {
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), []byte("# made for a test\n"+id.String()+"\n"), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), []byte(id.Recipient().String()+"\n"), 0o600))
}

// waitFor FILE TEXT waits until a file holds a text.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); <-tick.C {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(b), args[1]) {
			return
		}
	}
	ts.Fatalf("%s never held %q: %s", args[0], args[1], ts.ReadFile(args[0]))
}

func rewrite(ts *testscript.TestScript, dir string, prefix []byte, change func([]byte) []byte) {
	db, err := leveldb.OpenFile(ts.MkAbs(dir), nil)
	ts.Check(err)
	defer db.Close()
	it := db.NewIterator(util.BytesPrefix(prefix), nil)
	defer it.Release()
	if !it.Last() {
		ts.Fatalf("no row of %s begins with %q", dir, prefix)
	}
	key := slices.Clone(it.Key())
	ts.Check(db.Put(key, change(slices.Clone(it.Value())), nil))
}

// Every command and subcommand has a help text, and flags that --help names.
func TestEveryCommandExplainsItself(t *testing.T) {
	a := &app{out: io.Discard, err: io.Discard}
	var walk func(path string, args []string)
	walk = func(path string, args []string) {
		var out, errs bytes.Buffer
		if code := run(append(slices.Clone(args), "--help"), &out, &errs); code != 0 {
			t.Errorf("%s --help ends with %d: %s", path, code, &errs)
		}
		if !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%s --help shows no usage", path)
		}
	}
	walk("assentd", nil)
	for _, c := range a.root().Commands() {
		if c.Short == "" {
			t.Errorf("assentd %s has no short help", c.Name())
		}
		walk("assentd "+c.Name(), []string{c.Name()})
		for _, sub := range c.Commands() {
			if sub.Short == "" {
				t.Errorf("assentd %s %s has no short help", c.Name(), sub.Name())
			}
			walk("assentd "+c.Name()+" "+sub.Name(), []string{c.Name(), sub.Name()})
		}
	}
}
