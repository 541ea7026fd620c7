package chaincode_test

import (
	"fmt"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// BenchmarkExposure is the largest set that may be asked: thirty banks, each with a
// consent, a pledge and a data key.
func BenchmarkExposure(b *testing.B) {
	w := newWorld(b)
	var banks, names []string
	for i := range record.MaxExposureBanks {
		banks = append(banks, fmt.Sprintf("b%02d", i))
	}
	w.foundBanks(banks)
	for _, bank := range banks {
		name := "s/" + bank
		names = append(names, name)
		c := terms(name)
		owedTerms(c, bank)
		c.PrincipalKey, c.AccessLimits = addressOf("s"), record.AccessLimits{FrequencyPerDay: record.MaxUses, MaxUses: record.MaxUses}
		w.must("lender-a", "lender-a-app", "consent:Create", encode(b, c))
		digest, err := c.Digest(chainID)
		w.must("lender-a", "lender-a-app", "consent:Authorise", string(c.ConsentID), string(record.Wallet),
			encode(b, &record.Evidence{Signature: sign(b, "s", digest, err)}))
		w.must(record.OrgID(bank), bank+"-app", "access:RegisterPledge", encode(b, pledge(name, bank, "-owed", 1)))
	}
	spec := encode(b, exposure("-owed", names))
	b.ReportAllocs()
	for b.Loop() {
		r := w.submit("lender-a", "lender-a-app", "access:RequestExposure", spec)
		if r.Code != record.OK || load[record.Exposure](b, []byte(r.Payload)).Decision != record.Permit {
			b.Fatal(r.Message)
		}
	}
}
