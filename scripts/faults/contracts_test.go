package main

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/node/doctor"
)

// An alarm counts if it is one, and names what the node noted and nothing else.
func TestAnAlarmNamesHeightTransactionAndKey(t *testing.T) {
	h := doctor.Halt{Height: 70, Tx: "0x00ab", Key: "membership/client/a"}
	const (
		stopped = `{"level":"ERROR","msg":"execution stopped: the node halts","height":70,"error":"execute block 70: ALARM: a quorum certified"}`
		differs = `{"level":"ERROR","msg":"ALARM: this is the first transaction","height":69,"tx":"0x00ab","key":"membership/client/a"}`
		hangs   = `{"level":"ERROR","msg":"execution hangs: the node halts","height":70,"error":"ALARM: block 70 has been executing for 30s: membership.RegisterClient of transaction 0x00ab does not return; the last key it used is membership/client/a"}`
	)
	for _, log := range []string{stopped + "\n" + differs, "no JSON\n" + hangs + "\n"} {
		if err := alarmed(log, &h); err != nil {
			t.Errorf("%v of\n%s", err, log)
		}
	}
	for what, log := range map[string]string{
		"nothing":             "",
		"no key":              stopped,
		"no height":           differs,
		"no alarm":            strings.ReplaceAll(stopped+"\n"+differs, "ALARM", "notice"),
		"a warning":           strings.ReplaceAll(stopped+"\n"+differs, "ERROR", "WARN"),
		"another height":      strings.ReplaceAll(stopped, `"height":70`, `"height":71`) + "\n" + differs,
		"another transaction": stopped + "\n" + strings.ReplaceAll(differs, "0x00ab", "0x00ac"),
		"another key":         strings.ReplaceAll(hangs, "client/a", "client/ab"),
	} {
		if alarmed(log, &h) == nil {
			t.Errorf("%s is content with\n%s", what, log)
		}
	}
	for _, bad := range []doctor.Halt{{Tx: h.Tx, Key: h.Key}, {Height: 70, Key: h.Key}, {Height: 70, Tx: h.Tx}, {Height: 70, Tx: h.Tx, Key: "access/a"}} {
		if alarmed(stopped+"\n"+differs+"\n"+hangs, &bad) == nil {
			t.Errorf("a note %+v is taken", bad)
		}
	}
}
