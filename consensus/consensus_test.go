package consensus

import "testing"

func TestQuorumsShareACorrectReplica(t *testing.T) {
	for n := 1; n <= 100; n++ {
		f, q := Faulty(n), Quorum(n)
		if 3*f+1 > n || 3*(f+1)+1 <= n {
			t.Errorf("n=%d: f=%d", n, f)
		}
		if 2*q-n < f+1 {
			t.Errorf("n=%d: two quorums of %d may share only %d replicas, f=%d", n, q, 2*q-n, f)
		}
		if 2*(q-1)-n >= f+1 {
			t.Errorf("n=%d: a quorum of %d would do", n, q-1)
		}
		if q > n-f {
			t.Errorf("n=%d: %d correct replicas are no quorum of %d", n, n-f, q)
		}
	}
}

func TestMembershipCheck(t *testing.T) {
	for name, test := range map[string]struct {
		replicas []ReplicaID
		ok       bool
	}{
		"one":      {[]ReplicaID{7}, true},
		"four":     {[]ReplicaID{1, 2, 3, 4}, true},
		"none":     {nil, false},
		"zero":     {[]ReplicaID{1, 0}, false},
		"repeated": {[]ReplicaID{1, 2, 1}, false},
	} {
		if err := (Membership{Replicas: test.replicas}).Check(); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
