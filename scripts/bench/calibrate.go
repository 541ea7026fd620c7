package main

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
)

// signatureCost returns what one signature check takes on this machine now, in
// microseconds: the yardstick by which CPU figures of two machines, or of two
// hours on a shared one, can be compared. The best of several short runs counts,
// so that other load shows as little as it can.
func signatureCost() (float64, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	s := ledger.NewKeySigner(key)
	digest := ledger.Sum([]byte("yardstick"))
	sig, err := s.Sign(digest)
	if err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	best := time.Hour
	const checks = 200
	for range 10 {
		began := time.Now()
		for range checks {
			if err := ledger.VerifySignature(digest, sig, s.Address()); err != nil {
				return 0, fmt.Errorf("calibrate: %w", err)
			}
		}
		best = min(best, time.Since(began))
	}
	return float64(best.Nanoseconds()) / checks / 1000, nil
}
