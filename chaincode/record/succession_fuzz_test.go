package record

import "testing"

// FuzzSuccession reads a config that somebody proposes beside the one in force:
// never a panic, and nothing that keeps its number is a successor.
func FuzzSuccession(f *testing.F) {
	_, config, _ := orderingVectors(f)
	f.Add(config, config)
	f.Add(config, []byte{0xc0})
	f.Fuzz(func(t *testing.T, inForce, next []byte) {
		if runs, err := RunsValidatorUnder(next, "bank-a", Blob(inForce)); err != nil && runs {
			t.Fatal("an unreadable config names a validator")
		}
		s, err := ReadSuccession(inForce, next)
		if err != nil {
			return
		}
		if s.Check() == nil && s.next.Seq != s.inForce.Seq+1 {
			t.Fatalf("config %d follows config %d", s.next.Seq, s.inForce.Seq)
		}
	})
}
