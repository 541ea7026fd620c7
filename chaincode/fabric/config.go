package fabric

import (
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
)

// applyConfig is the call that on Assent's own network only the node makes.
const applyConfig = record.ContractMembership + ":ApplyConfig"

const approvalDomain = "assent/fabric/config/1\x00"

// Approval is what a member's operator gives its service to accept an ordering
// config on a channel: keccak256(domain ‖ channel ‖ 0 ‖ canonical JSON). It covers
// the channel, because one service may serve several.
func Approval(channel, configJSON string) record.Hash {
	return crypto.Keccak256Hash([]byte(approvalDomain), []byte(channel), []byte{0}, []byte(configJSON))
}

// checkConfig decides who may apply a config. On Assent's own network more than
// two thirds of the members sign it and the node applies it; here each member's
// operator names it to that member's service, and the endorsement policy says
// how many of them must. The caller has no say in it; that it must be an admin
// the config names keeps strangers from choosing the moment.
func (c *Chaincode) checkConfig(channel, configJSON string, who *record.Creator) error {
	config, err := record.Parse[record.OrderingConfig](configJSON)
	if err != nil {
		return record.Refuse(record.CodeBadRequest, "%v", err)
	}
	if c.approved == (record.Hash{}) || Approval(channel, configJSON) != c.approved {
		return record.Refuse(record.CodeForbidden, "this member's chaincode service has not approved the config for this channel: its operator sets DATASHARE_APPROVED_CONFIG")
	}
	for i := range config.Members {
		m := &config.Members[i]
		if m.OrgID != who.OrgID {
			continue
		}
		for _, key := range m.AdminKeys {
			if record.FormatAddress(key) == who.Address {
				return nil
			}
		}
	}
	return record.Refuse(record.CodeForbidden, "the caller is no admin that the config names")
}
