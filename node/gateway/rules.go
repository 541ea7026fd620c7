package gateway

import (
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
)

// rule says who may call a method.
type rule struct {
	anonymous bool                // without a token too
	subject   bool                // a subject too; what it may read of it is in subject.go
	own       bool                // only clients of the node's member; with guests those of its guests too
	guests    bool                //
	roles     []record.ClientRole // any of these; nil: any active client
	abroad    []record.ClientRole // of a guest, narrower than roles; nil: as roles
}

var (
	writers   = []record.ClientRole{record.RoleAdmin, record.RoleOperator, record.RoleOfficer, record.RoleIntegration, record.RoleNode}
	systems   = []record.ClientRole{record.RoleIntegration, record.RoleOperator}
	customers = []record.ClientRole{record.RoleOfficer, record.RoleOperator, record.RoleIntegration}
	officers  = []record.ClientRole{record.RoleOfficer}
	anchorers = []record.ClientRole{record.RoleOfficer, record.RoleIntegration}
	operators = []record.ClientRole{record.RoleAdmin, record.RoleOperator}
	designers = []record.ClientRole{record.RoleAdmin, record.RoleOfficer, record.RoleOperator, record.RoleIntegration}
)

// rules is every method that exists. Members read all ledger records; what costs
// the network or belongs to a member is for its own clients.
var rules = map[string]rule{
	assentv1connect.LedgerServiceSubmitProcedure:          {own: true, guests: true, roles: writers},
	assentv1connect.LedgerServiceSubmitManyProcedure:      {own: true, guests: true, roles: writers},
	assentv1connect.LedgerServiceGetOutcomeProcedure:      {},
	assentv1connect.LedgerServiceEvaluateProcedure:        {subject: true},
	assentv1connect.LedgerServiceGetStatusProcedure:       {anonymous: true, subject: true},
	assentv1connect.LedgerServiceGetGenesisProcedure:      {anonymous: true, subject: true},
	assentv1connect.LedgerServiceGetBlockProcedure:        {},
	assentv1connect.LedgerServiceGetHeaderProcedure:       {subject: true},
	assentv1connect.LedgerServiceProveRecordProcedure:     {subject: true},
	assentv1connect.LedgerServiceProveReceiptProcedure:    {subject: true},
	assentv1connect.LedgerServiceGetConfigProofsProcedure: {subject: true},
	assentv1connect.LedgerServiceEventsProcedure:          {subject: true},
	assentv1connect.DeliveryServicePutSealedPartProcedure: {own: true, guests: true, roles: systems},
	assentv1connect.DeliveryServiceAwaitAnswerProcedure:   {own: true, guests: true, roles: systems},
	assentv1connect.ProviderServiceBindProcedure:          {own: true, roles: customers},
	assentv1connect.ProviderServiceBindConsentProcedure:   {own: true, roles: customers},
	assentv1connect.ProviderServiceUnbindProcedure:        {own: true, roles: customers},
	assentv1connect.ProviderServiceCheckTemplateProcedure: {own: true, roles: designers},
	assentv1connect.ProviderServiceBuildAnswersProcedure:  {own: true, roles: anchorers},
	assentv1connect.ProviderServiceTryTemplateProcedure:   {own: true, roles: officers},
	assentv1connect.NetworkServiceGetPeersProcedure:       {own: true, guests: true, abroad: operators},
	assentv1connect.NetworkServiceProbeProcedure:          {own: true, guests: true, roles: operators}, // what guests may probe: guestprobe.go
}

// admit reports why a caller may not call the method. client is nil for a
// subject.
func (s *Server) admit(method string, r rule, c Caller, client *record.Client) error {
	switch {
	case c.Subject && !r.subject:
		return refuseRole("%s is not for subjects", method)
	case c.Subject:
		return nil
	case r.own && c.Org != s.cfg.Member && !(r.guests && slices.Contains(s.cfg.Guests, c.Org)):
		remedy := "Use a node of your own member: this call is for no guests either."
		if r.guests {
			remedy = "Use a node of your own member, or have this node's operator list your member under api.guests."
		}
		return &api.Error{
			Code:   assentv1.Code_CODE_FORBIDDEN,
			What:   "this node serves " + s.cfg.Member + " and calls " + method + " for nobody else",
			Remedy: remedy,
		}
	case r.roles != nil && !client.HasRole(r.roles...):
		return refuseRole("%s is for the roles %s", method, list(r.roles))
	case r.abroad != nil && c.Org != s.cfg.Member && !client.HasRole(r.abroad...):
		return refuseRole("%s is for guests with the roles %s", method, list(r.abroad))
	}
	return nil
}

func list(roles []record.ClientRole) string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return strings.Join(names, ", ")
}

func refuseRole(format string, args ...any) error {
	return api.Refuse(assentv1.Code_CODE_FORBIDDEN, format, args...)
}
