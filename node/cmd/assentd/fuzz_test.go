package main

import (
	"testing"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/ledger"
)

// FuzzGenesisFiles reads the members file and a card, as somebody sends them to the
// founder: an error, or a config that every node will take.
func FuzzGenesisFiles(f *testing.F) {
	const members = `{"network":"n","members":[{"id":"bank","name":"Bank","roles":["DATA_PROVIDER"],"admins":["0xe39f7e12f23556cdcc48cb8f39b0abac1490fd34"]}]}`
	const card = `{"member":"bank","kind":"validator","nodeId":"n1","hostKey":"0x028bfd53c3759626112cb0da7c0f8f43540f4a2b644c5a69d849efbd216e0667e9",` +
		`"voteKey":"0xe39f7e12f23556cdcc48cb8f39b0abac1490fd34","addrs":["/ip4/127.0.0.1/tcp/1"]}`
	f.Add([]byte(members), []byte(card))
	f.Add([]byte(`{"members":[{"admins":[null]}]}`), []byte(`{"kind":"observer"}`))
	f.Fuzz(func(t *testing.T, members, card []byte) {
		var m membersFile
		var c node.Card
		if parseJSON(members, &m) != nil || parseJSON(card, &c) != nil || checkCard(&c, &m) != nil {
			return
		}
		g, err := node.Genesis(m.Network, 1, m.list(), []node.Card{c})
		if err != nil {
			return
		}
		again, err := ledger.DecodeConfig(g.Encode())
		if err != nil || again.Hash() != g.Hash() {
			t.Fatalf("a genesis config was made that no node reads: %v", err)
		}
	})
}
