package exposure

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/frontend"
)

// ProofSize is the length of an encoded proof: three compressed points of BN254 and
// the library's empty list of commitments.
const ProofSize = 164

// prove proves an assignment of a circuit. One proof at a time: the prover uses
// every core it gets.
func (k *ProvingKey) prove(assignment frontend.Circuit) ([]byte, error) {
	proving.Lock()
	defer proving.Unlock()
	witness, err := frontend.NewWitness(assignment, ecc.BN254.ScalarField())
	if err != nil {
		return nil, fmt.Errorf("%w: witness of %s", ErrProof, k.Statement)
	}
	// The prover's errors may tell of the witness: they are not passed on.
	proof, err := groth16.Prove(systems[k.Statement](), k.pk, witness)
	if err != nil {
		return nil, fmt.Errorf("%w: the statement %s is false of these figures, or the proving key is of another circuit", ErrProof, k.Statement)
	}
	var b bytes.Buffer
	if _, err := proof.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("write proof: %w", err)
	}
	return b.Bytes(), nil
}

var proving sync.Mutex

// verify checks a proof over public inputs: nil, ErrFormat or ErrProof.
func (k *VerifyingKey) verify(proof []byte, public fr.Vector) error {
	silence()
	p, err := decodeProof(proof)
	if err != nil {
		return err
	}
	if err := groth16.Verify(p, k.vk, public); err != nil {
		return fmt.Errorf("%w: %s", ErrProof, k.Statement)
	}
	return nil
}

// decodeProof reads a proof in its one encoding. The length and the count of
// commitments, which the library would believe, are looked at first.
func decodeProof(b []byte) (*groth16.Proof, error) {
	if len(b) != ProofSize {
		return nil, fmt.Errorf("%w: a proof of %d bytes, want %d", ErrFormat, len(b), ProofSize)
	}
	if !bytes.Equal(b[128:132], []byte{0, 0, 0, 0}) {
		return nil, fmt.Errorf("%w: a proof with commitments", ErrFormat)
	}
	p := new(groth16.Proof)
	if _, err := p.ReadFrom(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("%w: proof: not three points of the curve", ErrFormat)
	}
	var again bytes.Buffer
	if _, err := p.WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), b) {
		return nil, fmt.Errorf("%w: proof: not in its one encoding", ErrFormat)
	}
	return p, nil
}
