package chaincode

import (
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// Function is one function of a contract, as a caller names it.
type Function struct {
	Contract string
	Name     string
	Args     int  // how many arguments, all of them strings
	Evaluate bool // reads only: never part of a transaction
}

// table is every callable function. A test holds it against the contracts.
var table = []Function{
	{record.ContractMembership, "ApplyConfig", 1, false},
	{record.ContractMembership, "RegisterClient", 1, false},
	{record.ContractMembership, "RevokeClient", 3, false},
	{record.ContractMembership, "SetNode", 1, false},
	{record.ContractMembership, "RemoveNode", 1, false},
	{record.ContractMembership, "SetDataKey", 1, false},
	{record.ContractMembership, "RevokeDataKey", 2, false},
	{record.ContractMembership, "SuspendMember", 2, false},
	{record.ContractMembership, "ReinstateMember", 1, false},
	{record.ContractMembership, "Propose", 1, false},
	{record.ContractMembership, "Approve", 1, false},
	{record.ContractMembership, "Withdraw", 1, false},
	{record.ContractMembership, "Refuse", 1, false},
	{record.ContractMembership, "GetConfig", 0, true},
	{record.ContractMembership, "GetMember", 1, true},
	{record.ContractMembership, "ListMembers", 0, true},
	{record.ContractMembership, "GetClient", 2, true},
	{record.ContractMembership, "ListClients", 1, true},
	{record.ContractMembership, "GetNode", 2, true},
	{record.ContractMembership, "ListNodes", 0, true},
	{record.ContractMembership, "ListDataKeys", 1, true},
	{record.ContractMembership, "GetProposal", 1, true},
	{record.ContractMembership, "GetProposedConfig", 1, true},
	{record.ContractMembership, "ListProposals", 3, true},

	{record.ContractCatalog, "PublishNotice", 1, false},
	{record.ContractCatalog, "PublishProduct", 1, false},
	{record.ContractCatalog, "RetireProduct", 1, false},
	{record.ContractCatalog, "ProposeTemplate", 1, false},
	{record.ContractCatalog, "ApproveTemplate", 2, false},
	{record.ContractCatalog, "WithdrawTemplate", 1, false},
	{record.ContractCatalog, "RetireTemplate", 1, false},
	{record.ContractCatalog, "SuspendProduct", 2, false},
	{record.ContractCatalog, "ReinstateProduct", 1, false},
	{record.ContractCatalog, "SuspendTemplate", 2, false},
	{record.ContractCatalog, "ReinstateTemplate", 1, false},
	{record.ContractCatalog, "OpenEpoch", 2, false},
	{record.ContractCatalog, "AnchorAnswers", 1, false},
	{record.ContractCatalog, "GetNotice", 1, true},
	{record.ContractCatalog, "GetProduct", 1, true},
	{record.ContractCatalog, "ListProducts", 1, true},
	{record.ContractCatalog, "GetTemplate", 1, true},
	{record.ContractCatalog, "ListTemplates", 1, true},
	{record.ContractCatalog, "GetEpoch", 1, true},
	{record.ContractCatalog, "GetTemplateProposal", 2, true},
	{record.ContractCatalog, "ListTemplateProposals", 1, true},
	{record.ContractCatalog, "GetAnchor", 3, true},
	{record.ContractCatalog, "ListAnchors", 2, true},

	{record.ContractConsent, "Create", 1, false},
	{record.ContractConsent, "Authorise", 3, false},
	{record.ContractConsent, "Countersign", 2, false},
	{record.ContractConsent, "Reject", 2, false},
	{record.ContractConsent, "Revoke", 4, false},
	{record.ContractConsent, "Expire", 1, false},
	{record.ContractConsent, "AcknowledgeTermination", 1, false},
	{record.ContractConsent, "ConfirmDeletion", 1, false},
	{record.ContractConsent, "RaiseDispute", 2, false},
	{record.ContractConsent, "ResolveDispute", 1, false},
	{record.ContractConsent, "RequestErasure", 2, false},
	{record.ContractConsent, "ConfirmErasure", 1, false},
	{record.ContractConsent, "Get", 1, true},
	{record.ContractConsent, "ListByParty", 4, true},
	{record.ContractConsent, "ListByPrincipal", 1, true},
	{record.ContractConsent, "GetTermination", 1, true},
	{record.ContractConsent, "ListTerminations", 3, true},
	{record.ContractConsent, "GetDeletion", 1, true},
	{record.ContractConsent, "ListDeletionsDue", 4, true},
	{record.ContractConsent, "GetDispute", 2, true},
	{record.ContractConsent, "ListDisputes", 3, true},
	{record.ContractConsent, "ListDisputesDue", 4, true},
	{record.ContractConsent, "GetErasure", 1, true},
	{record.ContractConsent, "ListErasuresDue", 4, true},

	{record.ContractAccess, "Request", 1, false},
	{record.ContractAccess, "RequestBatch", 1, false},
	{record.ContractAccess, "RegisterPledge", 1, false},
	{record.ContractAccess, "RequestExposure", 1, false},
	{record.ContractAccess, "RequestCohort", 1, false},
	{record.ContractAccess, "Receipt", 1, false},
	{record.ContractAccess, "DisputeAnswer", 1, false},
	{record.ContractAccess, "JudgeAnswer", 1, false},
	{record.ContractAccess, "GetPledge", 3, true},
	{record.ContractAccess, "GetExposure", 1, true},
	{record.ContractAccess, "GetExposureHistory", 1, true},
	{record.ContractAccess, "GetCohort", 1, true},
	{record.ContractAccess, "GetEpsilon", 2, true},
	{record.ContractAccess, "GetRequest", 1, true},
	{record.ContractAccess, "GetReceipt", 1, true},
	{record.ContractAccess, "Usage", 1, true},
	{record.ContractAccess, "ListByConsent", 3, true},
	{record.ContractAccess, "ListByParty", 3, true},
	{record.ContractAccess, "GetAnswerDispute", 1, true},
	{record.ContractAccess, "ListAnswerDisputes", 3, true},
}

// functions is the table under "contract:Function".
var functions = index(table)

func index(list []Function) map[string]Function {
	m := make(map[string]Function, len(list))
	for _, f := range list {
		m[f.Contract+":"+f.Name] = f
	}
	return m
}

// Lookup finds a function by its exact contract and name.
func Lookup(contract, function string) (Function, bool) {
	if strings.Contains(contract, ":") || strings.Contains(function, ":") {
		return Function{}, false
	}
	f, found := functions[contract+":"+function]
	return f, found
}

// Functions lists every function, contract by contract, writes before reads.
func Functions() []Function { return slices.Clone(table) }
