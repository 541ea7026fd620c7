// Package archtest holds the house rules that a machine can check: which
// package may import which, and what the deterministic zone must not contain.
//
// The table below is the one of ARCHITECTURE.md as data. A package of ours
// without a rule fails the build, and so does an import that no rule allows.
// Run it with
//
//	go test -count=1 ./scripts/archtest
//
// (-count=1, because the test cache cannot see what go list reads.)
package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the path of the module whose packages are checked.
const Module = "github.com/assent-network/assent"

// rule says which packages of ours a package and its sub-packages may import.
// Every package may import its own parents and sub-packages.
type rule struct {
	pkg   string   // path below Module; "x/..." covers sub-packages
	allow []string // same form
}

// leaves may be imported by every package below node.
var leaves = []string{"node/ledger", "chaincode/record", "node/redact", "node/fault", "node/durable"}

// rules, most special first: the first whose pkg matches is the one.
var rules = []rule{
	// Leaves: readable, testable, reusable alone.
	{"chaincode/record/...", nil},
	{"node/ledger/...", nil},
	{"node/fault", nil}, // nothing at all, but with the tag faultpoints
	{"node/durable", nil},
	{"network/...", nil},
	{"consensus/...", nil},

	// Contracts: the same code runs on a Fabric network.
	{"chaincode/cmd/...", []string{"chaincode/..."}},
	{"chaincode/fabric/...", []string{"chaincode/..."}}, // the contracts as a Fabric chaincode
	{"chaincode", []string{"chaincode/..."}},
	{"chaincode/call", []string{"chaincode/record"}},
	{"chaincode/...", []string{"chaincode/record", "chaincode/call", "chaincode/internal/..."}},

	// The node's rooms do not know each other; each declares what it needs and
	// package node connects them. The named exceptions:
	{"node/executor/...", []string{"node/state", "chaincode/..."}},
	{"node/chain/...", []string{"consensus", "node/executor", "node/store", "node/state"}},
	{"node/sync/...", []string{"node/store"}},
	{"node/snapshot/...", []string{"node/state"}},
	{"node/join/...", []string{"node/snapshot", "node/state", "node/store", "node/sync"}},
	{"node/query/pair", nil},
	{"node/query/exposure", []string{"chaincode/record", "node/query/pair"}}, // a leaf: banks, lenders and their aggregators compute with it
	{"node/query/cohort", []string{"chaincode/record", "node/query/pair"}},   // the same
	{"node/query/survey", []string{"node/vault", "node/answer", "node/query/cohort", "node/query/pair"}},
	{"node/query/total", []string{"node/vault", "node/query/exposure", "node/query/pair"}},
	{"node/query/...", []string{"node/vault/...", "node/answer"}},
	{"node/gateway/...", []string{"node/api/..."}},
	{"node/logs", nil},
	{"node/doctor", nil},
	{"node/console/...", []string{"node/api/..."}},
	{"node/cmd/...", []string{"node/...", "chaincode/..."}},

	// The one place where everything is visible.
	{"node", []string{"node/...", "chaincode/...", "consensus/...", "network/..."}},
	{"node/...", nil},

	// A client never links node internals.
	{"sdk/cmd/...", []string{"sdk/...", "node/api/...", "node/answer", "node/query/exposure", "node/query/cohort", "node/durable"}},
	{"sdk/internal/fakenode", []string{"node/api/...", "node/ledger", "node/answer", "node/query/exposure", "node/query/cohort", "node/query/pair", "chaincode/record"}}, // it plays banks
	{"sdk/...", []string{"node/api/...", "node/ledger", "node/answer", "node/durable", "node/query/exposure", "node/query/cohort", "chaincode/record"}},

	{"scripts/archtest", nil},
	{"scripts/faults/...", []string{"sdk/...", "node/...", "chaincode/record", "scripts/testnet", "scripts/scan", "scripts/faults/..."}},
	{"scripts/flood", []string{"sdk/...", "node/...", "network", "chaincode/record", "scripts/testnet"}}, // it plays a node
	{"scripts/scan", nil},
	{"scripts/...", []string{"sdk/...", "node/...", "chaincode/record", "scripts/testnet", "scripts/scan"}},
}

func matches(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pattern == pkg
}

func ruleFor(pkg string) *rule {
	for i := range rules {
		if matches(rules[i].pkg, pkg) {
			return &rules[i]
		}
	}
	return nil
}

// internalOf reports whether imp is internal to the folder that holds pkg, which
// the Go tool checks by itself.
func internalOf(pkg, imp string) bool {
	base, _, ok := strings.Cut(imp, "/internal/")
	return ok && (pkg == base || strings.HasPrefix(pkg, base+"/"))
}

// related reports whether one of a and b lies in the other's folder.
func related(a, b string) bool {
	return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// checkImports returns one sentence for each import of pkg that no rule allows.
// All paths are below Module.
func checkImports(pkg string, imports []string) []string {
	r := ruleFor(pkg)
	if r == nil {
		return []string{fmt.Sprintf("%s: no rule names this package; add one to scripts/archtest/rules.go and the table in ARCHITECTURE.md", pkg)}
	}
	var out []string
	for _, imp := range imports {
		allowed := slices.ContainsFunc(r.allow, func(p string) bool { return matches(p, imp) })
		if !allowed && strings.HasPrefix(pkg, "node/") && slices.Contains(leaves, imp) {
			allowed = true
		}
		// The root packages of node and sdk see everything below them by rule,
		// not by being a parent; below, a room and its corners are one.
		if !allowed && internalOf(pkg, imp) {
			allowed = true
		}
		if !allowed && related(pkg, imp) && imp != "node" && pkg != "node" {
			allowed = true
		}
		if !allowed {
			out = append(out, fmt.Sprintf("%s imports %s, which its rule (%s) does not allow: declare an interface where it is used and connect it in package node", pkg, imp, r.pkg))
		}
	}
	return out
}
