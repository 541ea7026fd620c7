package membership

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// GetConfig returns the ordering config in force, record.OrderingConfig.
func (*Contract) GetConfig(ctx *call.Context) (string, error) {
	return ctx.Show(record.ConfigKey, "ordering config")
}

// GetMember returns record.Member.
func (*Contract) GetMember(ctx *call.Context, orgID string) (string, error) {
	return ctx.Show(record.MemberKey(record.OrgID(orgID)), "member")
}

// ListMembers returns record.MemberList, by organisation id, past members too.
func (*Contract) ListMembers(ctx *call.Context) (string, error) {
	members, err := call.List[record.Member](ctx, record.MemberPrefix())
	if err != nil {
		return "", err
	}
	return call.Answer(&record.MemberList{Members: members})
}

// GetClient returns record.Client.
func (*Contract) GetClient(ctx *call.Context, orgID, address string) (string, error) {
	key, err := record.ParseAddress(address)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return ctx.Show(record.ClientKey(record.OrgID(orgID), key), "client key")
}

// ListClients returns record.ClientList of one member, by address, ended keys too.
func (*Contract) ListClients(ctx *call.Context, orgID string) (string, error) {
	if err := call.Identifier(record.OrgID(orgID)); err != nil {
		return "", err
	}
	clients, err := call.List[record.Client](ctx, record.ClientPrefix(record.OrgID(orgID)))
	if err != nil {
		return "", err
	}
	return call.Answer(&record.ClientList{Clients: clients})
}

// GetNode returns record.Node.
func (*Contract) GetNode(ctx *call.Context, orgID, nodeID string) (string, error) {
	return ctx.Show(record.NodeKey(record.OrgID(orgID), record.NodeID(nodeID)), "node")
}

// ListNodes returns record.NodeList of all members' nodes in service, by
// organisation and node id.
func (*Contract) ListNodes(ctx *call.Context) (string, error) {
	nodes, err := call.List[record.Node](ctx, record.NodePrefix())
	if err != nil {
		return "", err
	}
	inService := nodes[:0]
	for _, n := range nodes {
		if n.RemovedAt == 0 {
			inService = append(inService, n)
		}
	}
	return call.Answer(&record.NodeList{Nodes: inService})
}

// ListDataKeys returns record.DataKeyList of one member, ended keys too.
func (*Contract) ListDataKeys(ctx *call.Context, orgID string) (string, error) {
	if err := call.Identifier(record.OrgID(orgID)); err != nil {
		return "", err
	}
	keys, err := call.List[record.DataKey](ctx, record.DataKeyPrefix(record.OrgID(orgID)))
	if err != nil {
		return "", err
	}
	return call.Answer(&record.DataKeyList{DataKeys: keys})
}
