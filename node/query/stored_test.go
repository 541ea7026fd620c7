package query

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// FuzzStoredPermit reads rows of private.db: what is read is written back the same.
func FuzzStoredPermit(f *testing.F) {
	row, err := storePermit(&Permit{
		Request: record.Request{RequestID: record.NewRequestID(record.Hash{1}), Decision: record.Permit}, Height: 7, ExecutedAt: time.UnixMilli(1_800_000_000_000).UTC(),
	})
	if err == nil {
		f.Add(row)
	}
	f.Add([]byte(`{"Request":{},"Consent":{},"Template":{},"Product":{},"Height":1,"ExecutedAt":"2026-11-22T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var stored storedPermit
		if json.Unmarshal(b, &stored) != nil {
			return
		}
		p, err := stored.permit()
		if err != nil {
			return
		}
		again, err := storePermit(p)
		if err != nil {
			t.Fatalf("a permit that was read cannot be written: %v", err)
		}
		var twice storedPermit
		if err := json.Unmarshal(again, &twice); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(twice.Request, stored.Request) || !bytes.Equal(twice.Template, stored.Template) {
			t.Fatalf("%s is written back as %s", b, again)
		}
	})
}
