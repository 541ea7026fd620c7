package exposure

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/consensys/gnark/logger"
)

// Statement names one of the two things that are proved.
type Statement string

// The statements.
const (
	InRange   Statement = "in-range"  // a pledge's figure is in [0, 2^40)
	Threshold Statement = "threshold" // a sum of pledges reaches T, or does not
)

// Statements lists them in the order of a ceremony's files.
func Statements() []Statement { return []Statement{InRange, Threshold} }

// systems are the compiled circuits. Compiling is deterministic.
var systems = map[Statement]func() *cs.R1CS{
	InRange:   sync.OnceValue(func() *cs.R1CS { return compile(new(rangeCircuit)) }),
	Threshold: sync.OnceValue(func() *cs.R1CS { return compile(new(thresholdCircuit)) }),
}

// silence stops the library's logger: it writes to standard output, and could write of
// witnesses. Whoever calls the library says it first.
var silence = sync.OnceFunc(logger.Disable)

func compile(c frontend.Circuit) *cs.R1CS {
	silence()
	system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, c)
	if err != nil {
		panic(fmt.Sprintf("exposure: a circuit of ours does not compile: %v", err))
	}
	return system.(*cs.R1CS)
}

// ProvingKey proves one statement. It is no secret: what is secret died with the
// ceremony.
type ProvingKey struct {
	Statement Statement
	pk        *groth16.ProvingKey
}

// VerifyingKey checks proofs of one statement.
type VerifyingKey struct {
	Statement Statement
	vk        *groth16.VerifyingKey
}

// Fingerprint names a verifying key: SHA-256 of its statement and bytes.
func (k *VerifyingKey) Fingerprint() Hash {
	var b bytes.Buffer
	if _, err := k.vk.WriteTo(&b); err != nil {
		panic(fmt.Sprintf("exposure: a verifying key cannot be written to memory: %v", err))
	}
	return sha256.Sum256(join("assent exposure verifying key 1", []byte(k.Statement), b.Bytes()))
}

// Limits of key files, far above what the circuits need.
const (
	maxVerifyingKey = 4 << 10
	maxProvingKey   = 8 << 20
)

const keyHeader = "assent exposure key 1\n"

// WriteTo writes the key with its statement before it.
func (k *VerifyingKey) WriteTo(w io.Writer) (int64, error) {
	return writeKey(w, "verify "+string(k.Statement)+"\n", k.vk)
}

// WriteTo writes the key with its statement before it.
func (k *ProvingKey) WriteTo(w io.Writer) (int64, error) {
	return writeKey(w, "prove "+string(k.Statement)+"\n", k.pk)
}

func writeKey(w io.Writer, kind string, k io.WriterTo) (int64, error) {
	n, err := io.WriteString(w, keyHeader+kind)
	if err != nil {
		return int64(n), fmt.Errorf("exposure: write key: %w", err)
	}
	m, err := k.WriteTo(w)
	return int64(n) + m, err
}

// ReadVerifyingKey reads what WriteTo wrote, for the wanted statement. Who trusts
// the key compares its Fingerprint with the ceremony's.
func ReadVerifyingKey(want Statement, b []byte) (*VerifyingKey, error) {
	body, err := keyBody("verify ", want, b, maxVerifyingKey)
	if err != nil {
		return nil, err
	}
	k := &VerifyingKey{Statement: want, vk: new(groth16.VerifyingKey)}
	if err := readAll(k.vk, body); err != nil {
		return nil, err
	}
	if k.vk.NbPublicWitness() != publicInputs[want] || len(k.vk.CommitmentKeys) != 0 || len(k.vk.PublicAndCommitmentCommitted) != 0 {
		return nil, fmt.Errorf("%w: it belongs to another circuit than %s", ErrKey, want)
	}
	return k, nil
}

// ReadProvingKey reads what WriteTo wrote. A wrong proving key makes proofs that do
// not verify; its maker checks one of its own (see Prover).
func ReadProvingKey(want Statement, b []byte) (*ProvingKey, error) {
	body, err := keyBody("prove ", want, b, maxProvingKey)
	if err != nil {
		return nil, err
	}
	k := &ProvingKey{Statement: want, pk: new(groth16.ProvingKey)}
	if err := readAll(k.pk, body); err != nil {
		return nil, err
	}
	system := systems[want]()
	wires := system.GetNbPublicVariables() + system.GetNbSecretVariables() + system.GetNbInternalVariables()
	if k.pk.Domain.Cardinality != ecc.NextPowerOfTwo(uint64(system.GetNbConstraints())) || len(k.pk.InfinityA) != wires {
		return nil, fmt.Errorf("%w: it belongs to another circuit than %s", ErrKey, want)
	}
	return k, nil
}

func keyBody(kind string, want Statement, b []byte, limit int) ([]byte, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrKey, len(b), limit)
	}
	body, ok := bytes.CutPrefix(b, []byte(keyHeader+kind+string(want)+"\n"))
	if !ok {
		return nil, fmt.Errorf("%w: this is no file to %s%s; make the keys with assent exposure ceremony", ErrKey, kind, want)
	}
	return body, nil
}

// readAll reads a key, all of it. The library's readers trust lengths within the
// input to some degree: a key file is the operator's, never a peer's.
func readAll(k io.ReaderFrom, b []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: its content is damaged", ErrKey)
		}
	}()
	n, err := k.ReadFrom(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	if n != int64(len(b)) {
		return fmt.Errorf("%w: %d bytes after its end", ErrKey, int64(len(b))-n)
	}
	return nil
}

// publicInputs counts each statement's.
var publicInputs = map[Statement]int{InRange: 3, Threshold: 5}

// publicOf is a statement's public input, in the order of the circuit's fields.
func publicOf(c Point, more ...fr.Element) fr.Vector {
	return append(fr.Vector{c.p.X, c.p.Y}, more...)
}
