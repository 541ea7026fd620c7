package fakenode

import (
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Names of what Furnish publishes.
const (
	Product  = "salary-account"
	Template = "income-band"
	DataKey  = "bank-2026"
)

// Notice is the privacy notice that Furnish publishes.
var Notice = record.NoticeSpec{Language: "en", NoticeID: "lending", Title: "How your data are used", Text: "The lender asks the bank one question."}

// TemplateSpec is the query template that Furnish approves.
func TemplateSpec() record.TemplateSpec {
	return record.TemplateSpec{
		AnswerTTL: 60_000, Columns: []string{"income"}, CostLimit: 1000, Kind: record.Bucket, Outputs: []string{"HIGH", "LOW", record.NoRecord},
		Params:    []record.Param{{Name: "months", Type: record.TypeInt, Values: []string{"3", "12"}}},
		ProductID: Product, Source: `income > 5000 ? "HIGH" : "LOW"`, TemplateID: Template, Version: 1,
	}
}

// ProductSpec is the data product that Furnish publishes.
func ProductSpec() record.ProductSpec {
	return record.ProductSpec{
		Columns: []record.Column{{
			Class: record.Class{BitsPerEpoch: 8, BitsPerYear: 32, Kind: record.ClassAnswerOnly}, DataClass: record.C2, Name: "income", Type: record.TypeInt,
		}},
		Methods: record.Methods(), ProductID: Product, Purposes: []record.Purpose{record.CreditChecking, record.FraudManagement},
		Title: "Salary account", Version: 1,
	}
}

// Furnish registers keys, publishes a product, a template and a notice, opens an
// epoch, and sets the bank's data key, whose private half is Key("data bank").
func (n *Network) Furnish() *Network {
	act := func(key string, org record.OrgID, contract, function string, args ...string) {
		if _, err := n.Act(key, org, contract, function, args...); err != nil {
			panic(err)
		}
	}
	for _, r := range []struct {
		org, name string
		role      record.ClientRole
	}{
		{Lender, "integration lender", record.RoleIntegration}, {Bank, "integration bank", record.RoleIntegration},
		{Bank, "officer bank", record.RoleOfficer}, {Bank, "second bank", record.RoleOfficer}, {Auditor, "auditor auditor", record.RoleAuditor}, {Outside, "integration outside", record.RoleIntegration},
	} {
		act("admin "+r.org, record.OrgID(r.org), "membership", "RegisterClient",
			string(must(&record.ClientSpec{Address: Signer(r.name).Address(), Roles: []record.ClientRole{r.role}})))
	}
	key, err := answer.ParsePrivateKey(n.DataKey())
	if err != nil {
		panic(err)
	}
	now := n.Now()
	act("admin "+Bank, Bank, "membership", "SetDataKey", string(must(&record.DataKeySpec{
		KeyID: DataKey, PublicKey: key.PublicKey().Bytes(), Suite: record.SuiteX25519,
		ValidFrom: now.Add(-time.Hour).UnixMilli(), ValidUntil: now.AddDate(1, 0, 0).UnixMilli(),
	})))
	product, template, notice := ProductSpec(), TemplateSpec(), Notice
	act("officer "+Bank, Bank, "catalog", "PublishProduct", string(must(&product)))
	act("officer "+Bank, Bank, "catalog", "ProposeTemplate", string(must(&template)))
	hash, err := template.CodeHash()
	if err != nil {
		panic(err)
	}
	act("second "+Bank, Bank, "catalog", "ApproveTemplate", Template, hash.Hex())
	act("officer "+Bank, Bank, "catalog", "PublishNotice", string(must(&notice)))
	act("officer "+Bank, Bank, "catalog", "OpenEpoch", Product, "1")
	return n
}

// DataKey returns the private half of the bank's data key.
func (n *Network) DataKey() []byte { return Key("data " + Bank).D.FillBytes(make([]byte, 32)) }
