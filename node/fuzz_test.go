package node

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"filippo.io/age"

	"github.com/assent-network/assent/node/backup"
	"github.com/assent-network/assent/node/doctor"
)

// FuzzStatus reads what stands behind the operators' address, and has the doctor
// judge it: whatever it is, findings with a remedy, and no panic.
func FuzzStatus(f *testing.F) {
	f.Add([]byte(`{"nodeId":"n1","member":"bank","validators":4,"reached":3,"orders":true,"viewAgeNs":-1,"peers":[{"nodeId":"n2"}],"ledger":{"dataKeys":[{"id":"d"}]}}`))
	f.Add([]byte(`{"nodeId":"n1","restored":{"validator":3,"closed":[{"product":"p","epoch":18446744073709551615}]},"vaults":[{}]}`))
	f.Add([]byte(`{"nodeId":"n1","peers":null,"ledger":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseStatus(bytes.NewReader(b))
		if err != nil {
			return
		}
		r := doctor.Judge(&doctor.Facts{Now: time.UnixMilli(1_800_000_000_000), Running: true, Node: n, Ledger: n.Ledger, Vaults: n.Vaults, Keys: []doctor.Key{{Name: "vote", Use: "vote"}}})
		for _, x := range r.Findings {
			if x.What == "" || (x.Remedy == "") != (x.Level == doctor.OK) {
				t.Fatalf("%+v", x)
			}
		}
	})
}

// FuzzPeerStatus reads what another node says of its version, which is shown.
func FuzzPeerStatus(f *testing.F) {
	f.Add([]byte(`{"software":"1.0","protocol":"1","protocolKnown":"18446744073709551616"}`))
	f.Add([]byte(`{"software":"\u001b[31m` + strings.Repeat("x", 100) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p doctor.Peer
		if parsePeerStatus(b, &p) != nil {
			return
		}
		if len(p.Software) > 64 || strings.ContainsFunc(p.Software, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("version %q would be shown", p.Software)
		}
	})
}

// FuzzLiveBackup reads the stream of a running node, which may be cut anywhere.
func FuzzLiveBackup(f *testing.F) {
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := backup.NewWriter(io.Discard, []age.Recipient{secret.Recipient()}, backup.About{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := addLive(w, bytes.NewReader(b), func(VerifyProgress) {}); err == nil && !bytes.Contains(b, []byte(liveEnd)) {
			t.Fatal("a stream without its end was taken for whole")
		}
	})
}
