package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/store"
)

// childEnv makes the test's own program, started again, prune a data directory in a
// process of its own: its value is the directory, the genesis file and the write at
// which the process kills itself, 0 for none, as JSON.
const childEnv = "ASSENT_TEST_PRUNE"

type childTask struct {
	Data, Genesis string
	Kill          int64
}

type childReport struct {
	Info   PruneInfo
	Writes int64
}

// pruneChild is what that process does.
func pruneChild(task string) error {
	var t childTask
	if err := json.Unmarshal([]byte(task), &t); err != nil {
		return err
	}
	cfg := config.Default()
	cfg.DataDir, cfg.Genesis = t.Data, t.Genesis
	cfg.Retention = config.Retention{Blocks: oldEnough, Records: oldEnough}
	writes := new(atomic.Int64)
	writes.Store(-1 << 40) // opening is not pruning
	n := newNode(Options{Config: cfg, Files: func(_ string, f store.Files) store.Files { return countedFiles{f, writes, t.Kill} }})
	ctx, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	if err := n.openLedger(ctx); err != nil {
		return err
	}
	writes.Store(0)
	info, err := n.prune(ctx, func(VerifyProgress) {})
	r := childReport{info, writes.Load()}
	if err = errors.Join(err, n.Close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// countedFiles kill their process in the midst of a write.
type countedFiles struct {
	store.Files
	writes *atomic.Int64
	kill   int64
}

func (f countedFiles) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := f.Files.Create(fd)
	return countedWriter{w, f}, err
}

type countedWriter struct {
	storage.Writer
	of countedFiles
}

func (w countedWriter) Write(b []byte) (int, error) {
	if w.of.writes.Add(1) == w.of.kill {
		_, _ = w.Writer.Write(b[:len(b)/2])
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return w.Writer.Write(b)
}

// inChild prunes a data directory in another process; killed is true if it died of
// its own signal.
func inChild(t *testing.T, task childTask) (r childReport, killed bool) {
	t.Helper()
	b, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(b))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() && s.Signal() == syscall.SIGKILL {
		return r, true
	}
	if err != nil {
		t.Fatalf("the pruning process: %v\n%s", err, &errs)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("the pruning process says %q: %v", &out, err)
	}
	return r, false
}

// A process that prunes blocks and records is killed in the midst of a write, at one
// after the other. What it leaves verifies; started again it prunes to the same end,
// and that verifies too.
func TestAProcessKilledWhilePruningGoesOn(t *testing.T) {
	t.Parallel()
	c, _, _ := withPruners(t)
	keeper := c.find(regulator, "observer") // prunes nothing by itself
	if _, err := keeper.node.writeSnapshot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	keeper.stop()
	copied := func() config.Config {
		cfg := keeper.cfg
		cfg.DataDir = filepath.Join(t.TempDir(), "data")
		if err := copyData(cfg.DataDir, keeper.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	verified := func(cfg config.Config, when string) {
		t.Helper()
		if v, err := Verify(t.Context(), cfg, nil); err != nil || !v.Repeated {
			t.Fatalf("verify %s: %+v, %v", when, v, err)
		}
	}
	whole, _ := inChild(t, childTask{Data: copied().DataDir, Genesis: keeper.cfg.Genesis})
	if whole.Info.Bodies == 0 || whole.Info.Pruned == 0 || whole.Writes < 4 {
		t.Fatalf("nothing to disturb: %+v", whole)
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	at := map[int64]bool{1: true, whole.Writes: true}
	for len(at) < int(min(whole.Writes, 8)) {
		at[1+rng.Int64N(whole.Writes)] = true
	}
	partly := 0
	for k := range at {
		cfg := copied()
		if _, killed := inChild(t, childTask{cfg.DataDir, cfg.Genesis, k}); !killed {
			t.Fatalf("seed %d: the process was not killed at write %d of %d", seed, k, whole.Writes)
		}
		verified(cfg, fmt.Sprintf("after a kill at write %d of %d (seed %d)", k, whole.Writes, seed))
		rest, _ := inChild(t, childTask{Data: cfg.DataDir, Genesis: cfg.Genesis})
		if rest.Info.Blocks != whole.Info.Blocks || rest.Info.Records != whole.Info.Records {
			t.Errorf("seed %d: killed at write %d it came to %+v, want %+v", seed, k, rest.Info, whole.Info)
		}
		if rest.Info.Bodies < whole.Info.Bodies || rest.Info.Pruned < whole.Info.Pruned {
			partly++
		}
		verified(cfg, fmt.Sprintf("after going on from write %d (seed %d)", k, seed))
	}
	if partly == 0 {
		t.Errorf("seed %d: no kill came after something had been pruned", seed)
	}
}
