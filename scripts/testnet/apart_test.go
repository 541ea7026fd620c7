package testnet

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/assent-network/assent/node"
)

// apart checks that the members share nothing but the genesis file, so that each
// could be on a machine of its own: no configuration names and no process has open
// what lies in another member's directory.
func (p *people) apart(t *testing.T) {
	n := p.net
	handedOut, err := os.ReadFile(n.GenesisPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range n.Nodes {
		own := n.memberDir(x.Member) + string(filepath.Separator)
		conf, err := os.ReadFile(filepath.Join(x.Home, node.ConfigFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range regexp.MustCompile(regexp.QuoteMeta(n.Dir)+`[^\s"',\]]*`).FindAllString(string(conf), -1) {
			if !strings.HasPrefix(path, own) {
				t.Errorf("the configuration of %s names %s, which is not its member's", x.Name, path)
			}
		}
		if b, err := os.ReadFile(filepath.Join(x.Home, genesisFile)); err != nil || string(b) != string(handedOut) {
			t.Errorf("%s has no copy of the genesis file of its own: %v", x.Name, err)
		}
		open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", x.PID))
		if err != nil || len(open) == 0 {
			t.Fatalf("%s: process %d: what it has open: %v", x.Name, x.PID, err)
		}
		inside := 0
		for _, fd := range open {
			path, err := os.Readlink(fd)
			if err != nil || !strings.HasPrefix(path, n.Dir+string(filepath.Separator)) {
				continue // closed meanwhile, a socket, a library
			}
			if inside++; !strings.HasPrefix(path, own) {
				t.Errorf("%s has %s open, which is not its member's", x.Name, path)
			}
		}
		if inside == 0 {
			t.Errorf("%s has nothing open in its directory: the check sees nothing", x.Name)
		}
	}
}
