package testnet

import "testing"

// FuzzManifest reads manifests: an error, or a network that can be made.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"network":"n","members":[{"id":"bank","name":"Bank","roles":["DATA_PROVIDER"],"validators":4,"observers":1}],"profiles":true}`))
	f.Add([]byte(`{"members":[{"validators":-1},{"validators":9223372036854775807,"observers":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		nodes := 0
		for _, x := range m.Members {
			if x.Validators < 0 || x.Observers < 0 {
				t.Fatalf("%+v", x)
			}
			nodes += x.Validators + x.Observers
		}
		if nodes == 0 || m.Network == "" || nodes > maxNodes {
			t.Fatalf("%d nodes of %q", nodes, m.Network)
		}
	})
}
