package exposure

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/consensys/gnark-crypto/ecc"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	cs "github.com/consensys/gnark/constraint/bn254"
)

// A ceremony makes the keys of both statements so that nobody knows the secret with
// which false proofs could be made, as long as one contributor threw its own away.
//
// It has two phases. Members contribute one after the other to the first (powers of
// tau, the same for all circuits); a public beacon that nobody could know before,
// such as the hash of a block agreed on beforehand, closes it. Then they contribute
// to the second (both circuits at once), and another beacon closes that. Every
// contribution proves that it builds on the one before; whoever has all of them and
// the beacons computes the same keys.

// Phase of a ceremony.
type Phase int

// The phases.
const (
	PhaseOne Phase = 1
	PhaseTwo Phase = 2
)

// MinBeacon is the least length of a beacon, in bytes.
const MinBeacon = 32

// maxContribution bounds a contribution's file; those of today's circuits have less
// than 1 MiB.
const maxContribution = 16 << 20

// ErrCeremony: a contribution, or their order, is wrong.
var ErrCeremony = errors.New("exposure: ceremony")

const contributionHeader = "assent exposure contribution 1 "

// Ceremony checks and makes contributions. Its methods take the contributions so
// far, oldest first, and check every one of them: seconds each.
type Ceremony struct {
	systems [2]*cs.R1CS // of Statements
	domain  uint64      // powers that the first phase needs, enough for both
}

// NewCeremony is the ceremony of the keys of both statements.
func NewCeremony() *Ceremony {
	c := new(Ceremony)
	for i, s := range Statements() {
		c.systems[i] = systems[s]()
	}
	return c.sized()
}

func (c *Ceremony) sized() *Ceremony {
	n := max(c.systems[0].GetNbConstraints(), c.systems[1].GetNbConstraints())
	c.domain = ecc.NextPowerOfTwo(uint64(n))
	return c
}

// ContributeOne adds secret randomness to the contributions of phase one so far,
// each checked, and returns the next.
func (c *Ceremony) ContributeOne(before [][]byte) ([]byte, error) {
	last, err := c.checkOne(before)
	if err != nil {
		return nil, err
	}
	next := mpcsetup.NewPhase1(c.domain)
	if len(before) > 0 {
		next = last
	}
	next.Contribute()
	return writeContribution(PhaseOne, next)
}

// checkOne checks the chain of phase one and returns its last state.
func (c *Ceremony) checkOne(chain [][]byte) (*mpcsetup.Phase1, error) {
	prev := mpcsetup.NewPhase1(c.domain)
	for i, b := range chain {
		next := new(mpcsetup.Phase1)
		if err := readContribution(PhaseOne, b, next); err != nil {
			return nil, fmt.Errorf("contribution %d of phase 1: %w", i+1, err)
		}
		if err := guard(func() error { return prev.Verify(next) }); err != nil {
			return nil, fmt.Errorf("%w: contribution %d of phase 1 does not build on the one before: %w", ErrCeremony, i+1, err)
		}
		prev = next
	}
	return prev, nil
}

// sealOne checks phase one and closes it with its beacon.
func (c *Ceremony) sealOne(chain [][]byte, beacon []byte) (*mpcsetup.SrsCommons, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("%w: nobody contributed to phase 1", ErrCeremony)
	}
	if err := checkBeacon(beacon); err != nil {
		return nil, err
	}
	last, err := c.checkOne(chain)
	if err != nil {
		return nil, err
	}
	commons := last.Seal(beacon)
	return &commons, nil
}

func checkBeacon(b []byte) error {
	if len(b) < MinBeacon {
		return fmt.Errorf("%w: a beacon of %d bytes, want at least %d that nobody knew before the last contribution", ErrCeremony, len(b), MinBeacon)
	}
	return nil
}

// pairOfPhase2 is the second phase of both circuits.
type pairOfPhase2 [2]*mpcsetup.Phase2

// ContributeTwo adds to the contributions of phase two so far. one and beacon are
// the whole of phase one.
func (c *Ceremony) ContributeTwo(one [][]byte, beacon []byte, before [][]byte) ([]byte, error) {
	commons, err := c.sealOne(one, beacon)
	if err != nil {
		return nil, err
	}
	last, _, err := c.checkTwo(commons, before)
	if err != nil {
		return nil, err
	}
	for _, p := range last {
		p.Contribute()
	}
	return writeContribution(PhaseTwo, last[0], last[1])
}

// checkTwo checks the chain of phase two and returns its last state with what the
// keys are made of.
func (c *Ceremony) checkTwo(commons *mpcsetup.SrsCommons, chain [][]byte) (pairOfPhase2, [2]mpcsetup.Phase2Evaluations, error) {
	var prev pairOfPhase2
	var made [2]mpcsetup.Phase2Evaluations
	for i, system := range c.systems {
		prev[i] = new(mpcsetup.Phase2)
		made[i] = prev[i].Initialize(system, commons)
	}
	for n, b := range chain {
		next := pairOfPhase2{new(mpcsetup.Phase2), new(mpcsetup.Phase2)}
		if err := readContribution(PhaseTwo, b, next[0], next[1]); err != nil {
			return prev, made, fmt.Errorf("contribution %d of phase 2: %w", n+1, err)
		}
		for i := range next {
			if len(next[i].Sigmas) != 0 {
				return prev, made, fmt.Errorf("%w: contribution %d of phase 2 is for other circuits", ErrCeremony, n+1)
			}
			if err := guard(func() error { return prev[i].Verify(next[i]) }); err != nil {
				return prev, made, fmt.Errorf("%w: contribution %d of phase 2 does not build on the one before: %w", ErrCeremony, n+1, err)
			}
		}
		prev = next
	}
	return prev, made, nil
}

// KeySet is what a ceremony makes, in the order of Statements.
type KeySet struct {
	Proving   [2]*ProvingKey
	Verifying [2]*VerifyingKey
}

// Fingerprint names the set: members compare it, and a network agrees on it.
func (k *KeySet) Fingerprint() Hash {
	a, b := k.Verifying[0].Fingerprint(), k.Verifying[1].Fingerprint()
	return sha256.Sum256(join("assent exposure keys 1", a[:], b[:]))
}

// Keys checks a whole ceremony and computes its keys. Everybody who has the same
// contributions and beacons gets the same keys.
func (c *Ceremony) Keys(one [][]byte, beaconOne []byte, two [][]byte, beaconTwo []byte) (*KeySet, error) {
	if len(two) == 0 {
		return nil, fmt.Errorf("%w: nobody contributed to phase 2", ErrCeremony)
	}
	if err := checkBeacon(beaconTwo); err != nil {
		return nil, err
	}
	if bytes.Equal(beaconOne, beaconTwo) {
		return nil, fmt.Errorf("%w: both phases have the same beacon; the second was known before phase 2", ErrCeremony)
	}
	commons, err := c.sealOne(one, beaconOne)
	if err != nil {
		return nil, err
	}
	last, made, err := c.checkTwo(commons, two)
	if err != nil {
		return nil, err
	}
	out := new(KeySet)
	for i, s := range Statements() {
		pk, vk := last[i].Seal(commons, &made[i], beaconTwo)
		proving, ok1 := pk.(*groth16.ProvingKey)
		verifying, ok2 := vk.(*groth16.VerifyingKey)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%w: the library made keys of another curve", ErrCeremony)
		}
		out.Proving[i], out.Verifying[i] = &ProvingKey{s, proving}, &VerifyingKey{s, verifying}
	}
	return out, nil
}

// CheckOne and CheckTwo check the contributions so far without making anything.
func (c *Ceremony) CheckOne(one [][]byte) error { _, err := c.checkOne(one); return err }

// CheckTwo checks phase two after a closed phase one.
func (c *Ceremony) CheckTwo(one [][]byte, beacon []byte, two [][]byte) error {
	commons, err := c.sealOne(one, beacon)
	if err == nil {
		_, _, err = c.checkTwo(commons, two)
	}
	return err
}

func writeContribution(phase Phase, parts ...io.WriterTo) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d\n", contributionHeader, phase)
	for _, p := range parts {
		if _, err := p.WriteTo(&b); err != nil {
			return nil, fmt.Errorf("write contribution: %w", err)
		}
	}
	return b.Bytes(), nil
}

// readContribution reads a contribution, all of it. Its size must be exactly that
// of an honest one, so that no length within it can ask for more memory.
func readContribution(phase Phase, b []byte, into ...io.ReaderFrom) error {
	body, ok := bytes.CutPrefix(b, fmt.Appendf(nil, "%s%d\n", contributionHeader, phase))
	if !ok || len(b) > maxContribution {
		return fmt.Errorf("%w: this is no contribution to phase %d", ErrCeremony, phase)
	}
	r := bytes.NewReader(body)
	for _, p := range into {
		if err := guard(func() error { _, err := p.ReadFrom(r); return err }); err != nil {
			return fmt.Errorf("%w: it is damaged: %w", ErrCeremony, err)
		}
	}
	if r.Len() != 0 {
		return fmt.Errorf("%w: %d bytes after its end", ErrCeremony, r.Len())
	}
	return nil
}

// guard turns a panic of the library, which believes some lengths, into an error:
// contributions are other members' files.
func guard(fn func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: impossible sizes", ErrCeremony)
		}
	}()
	return fn()
}
