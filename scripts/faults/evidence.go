package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/scripts/testnet"
)

// What honest nodes hold against liars: proofs that stay and that others can check,
// and alarms about what only they saw. And against nobody else.

// against asks a running node whom it accuses.
func (p *play) against(ctx context.Context, x *testnet.Node) ([]doctor.Accusation, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+x.Ops+"/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var s doctor.Node
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<20)).Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	return s.Accusations, nil
}

// number is a node's number as a validator.
func (p *play) number(x *testnet.Node) uint64 {
	for _, v := range p.net.Genesis().Validators {
		if v.VoteKey == x.Card.VoteKey {
			return v.ID
		}
	}
	return 0
}

// noneAccused: whoever keeps the rules is accused by nobody.
func (p *play) noneAccused(ctx context.Context) error {
	for _, x := range p.net.Nodes {
		list, err := p.against(ctx, x)
		if err != nil {
			return err
		}
		for _, a := range list {
			if p.liar == nil || a.Validator != p.number(p.liar) || a.Damaged {
				return fmt.Errorf("%s accuses validator %d, which kept the rules: %+v", x.Name, a.Validator, a)
			}
		}
	}
	return nil
}

// accuser waits until a node that is no liar accuses the liar of something, and
// returns it with its accusation.
func (p *play) accuser(ctx context.Context, what string, right func(a *doctor.Accusation) bool) (x *testnet.Node, found doctor.Accusation, err error) {
	err = p.within(ctx, settleLimit, what, func() error {
		for _, y := range p.others(p.liar) {
			list, err := p.against(ctx, y)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(a doctor.Accusation) bool { return a.Validator == p.number(p.liar) && right(&a) })
			if i >= 0 {
				x, found = y, list[i]
				return nil
			}
		}
		return errors.New("nobody accuses " + p.liar.Name)
	})
	if err != nil {
		return nil, found, err
	}
	log, err := os.ReadFile(x.LogPath())
	if err == nil && !bytes.Contains(log, []byte("ALARM: a validator")) {
		err = fmt.Errorf("%s raised no alarm in its log", x.Name)
	}
	return x, found, err
}

// lieAndBeSeen: some honest node alarms its operator.
func lieAndBeSeen(kind string) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		if err := lie(ctx, p); err != nil {
			return err
		}
		x, a, err := p.accuser(ctx, "the liar is seen", func(a *doctor.Accusation) bool { return a.Kind == kind })
		if err == nil {
			fmt.Fprintf(os.Stderr, "  %s saw validator %d (%s) %d times\n", x.Name, a.Validator, a.Kind, a.Times)
		}
		return err
	}
}

// twoFaced: the leader tells another validator than itself another block.
func twoFaced(ctx context.Context, p *play) error {
	victims := slices.DeleteFunc(slices.Clone(p.net.Nodes), func(x *testnet.Node) bool { return x.Name == p.first })
	p.victim = victims[p.rng.IntN(len(victims))]
	return prepared(theLeader, "byzantine=two-faced,victim="+p.victim.Card.NodeID)(ctx, p)
}

// lieAndProve: the proof is there, survives a kill, convinces others, and is what
// the operator is told.
func lieAndProve(ctx context.Context, p *play) error {
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	if x == p.victim {
		return fmt.Errorf("%s would be its own victim: play this scenario again", x.Name)
	}
	p.spare(x, p.victim)
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	proven := func(a *doctor.Accusation) bool { return a.Proven && a.InForce && a.Times > 0 }
	witness, _, err := p.accuser(ctx, "there is a proof against the liar", proven)
	if err != nil {
		return err
	}
	// The victim, who was proposed another block than was decided, has seen that too.
	if _, _, err := p.accuser(ctx, "the other proposal is seen", func(a *doctor.Accusation) bool { return !a.Proven }); err != nil {
		return err
	}
	p.kill(witness)
	if err := p.again(ctx, witness); err != nil {
		return err
	}
	again, err := p.against(ctx, witness)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(again, func(a doctor.Accusation) bool { return proven(&a) }) {
		return fmt.Errorf("%s lost its evidence when it was killed: %+v", witness.Name, again)
	}
	return p.shown(ctx, witness)
}

// shown: the operator's commands show the proof, and anybody can check it.
func (p *play) shown(ctx context.Context, x *testnet.Node) error {
	var list struct {
		Proofs []node.Accused `json:"proofs"`
	}
	out, code := p.assentd(ctx, "evidence", "--home", x.Home, "--json")
	if err := json.Unmarshal(out, &list); err != nil || code != 1 || len(list.Proofs) == 0 {
		return fmt.Errorf("assentd evidence: exit code %d, %s", code, out)
	}
	for _, a := range list.Proofs {
		if a.VoteKey != p.liar.Card.VoteKey {
			return fmt.Errorf("there is a proof against %s, who did not lie", a.VoteKey)
		}
	}
	file := list.Proofs[0].File
	if out, code := p.assentd(ctx, "evidence", "check", file, "--genesis", p.net.GenesisPath()); code != 0 || !strings.Contains(string(out), fmt.Sprintf("validator %d of %s", p.number(p.liar), p.liar.Member)) {
		return fmt.Errorf("a proof does not convince others: exit code %d, %s", code, out)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	forged := filepath.Join(p.dir, "forged.json")
	i := bytes.LastIndex(raw, []byte(`"signature": "0x`)) + 40
	raw[i] = map[bool]byte{true: '1', false: '0'}[raw[i] == '0']
	if err := os.WriteFile(forged, raw, 0o600); err != nil {
		return err
	}
	if out, code := p.assentd(ctx, "evidence", "check", forged, "--genesis", p.net.GenesisPath()); code != 1 {
		return fmt.Errorf("a forged proof convinces: exit code %d, %s", code, out)
	}
	out, code = p.assentd(ctx, "doctor", "--home", x.Home, "--no-password", "--json")
	if code != 2 || !bytes.Contains(out, []byte("Suspend or remove this validator")) {
		return fmt.Errorf("assentd doctor does not say what to do: exit code %d, %s", code, out)
	}
	fmt.Fprintf(os.Stderr, "  %s holds %d proofs against %s\n", x.Name, len(list.Proofs), p.liar.Name)
	return nil
}

// assentd runs a command of the program.
func (p *play) assentd(ctx context.Context, args ...string) (out []byte, code int) {
	cmd := exec.CommandContext(ctx, p.net.Program, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		return []byte(err.Error()), -1
	}
	return append(out, errs.Bytes()...), cmd.ProcessState.ExitCode()
}
