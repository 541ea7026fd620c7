package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// What a subject may read, all of it in this file.
//
// A subject shows that it holds the principalKey of a consent. It reads that
// consent, its usage, its requests and receipts, with their proofs and events;
// and the directory: members, nodes, data keys, products, templates, notices and
// epochs, which say whom and what it trusts and name nobody. Whatever concerns
// another consent does not exist for it: the answer is the same NOT_FOUND as for
// a consent that was never made.

// subjectRead says which consent a read function concerns.
type subjectRead uint8

const (
	readDirectory subjectRead = iota + 1 // none
	readOwnKey                           // those under the key that is its first argument
	readConsent                          // the one that is its first argument
	readRequest                          // that of the request that is its first argument
)

var subjectReads = map[string]subjectRead{
	"membership.GetConfig":    readDirectory,
	"membership.GetMember":    readDirectory,
	"membership.ListMembers":  readDirectory,
	"membership.GetNode":      readDirectory,
	"membership.ListNodes":    readDirectory,
	"membership.ListDataKeys": readDirectory,
	"catalog.GetNotice":       readDirectory,
	"catalog.GetProduct":      readDirectory,
	"catalog.ListProducts":    readDirectory,
	"catalog.GetTemplate":     readDirectory,
	"catalog.ListTemplates":   readDirectory,
	"catalog.GetEpoch":        readDirectory,
	"consent.Get":             readConsent,
	"consent.ListByPrincipal": readOwnKey,
	"access.Usage":            readConsent,
	"access.ListByConsent":    readConsent,
	"access.GetRequest":       readRequest,
	"access.GetReceipt":       readRequest,
}

// provable are the keys, up to the id, of records that a subject may have proved
// of its consent; the directory's are provable whole.
var (
	provableOfConsent = []string{record.ConsentKey(""), record.UsageKey("")}
	provableDirectory = []string{record.ConfigKey, record.MemberPrefix(), record.NodePrefix(), "membership/datakey/", record.ProductPrefix(), record.TemplateKey(""), "catalog/notice/", "catalog/epoch/"}
)

func notOwn() error {
	return &api.Error{
		Code:   assentv1.Code_CODE_NOT_FOUND,
		What:   "no consent of this key concerns it",
		Remedy: "Check the identifier, and sign the token with the principalKey of that very consent.",
	}
}

// subjectMayEvaluate reports why a subject may not make a read call.
func (s *Server) subjectMayEvaluate(ctx context.Context, c Call) error {
	kind := subjectReads[c.Contract+"."+c.Function]
	if kind == readDirectory {
		return nil
	}
	if kind == 0 {
		return refuseRole("a subject may not call %.64q.%.64q", c.Contract, c.Function)
	}
	if len(c.Args) == 0 {
		return api.Refuse(assentv1.Code_CODE_UNKNOWN_FUNCTION, "%s.%s takes an argument", c.Contract, c.Function)
	}
	switch kind {
	case readOwnKey:
		if c.Args[0] != record.FormatAddress(c.Caller.Address) {
			return notOwn()
		}
		return nil
	case readConsent:
		return s.ownsConsent(ctx, c.Caller, c.Args[0], c)
	case readRequest:
		return s.ownsRequest(ctx, c.Caller, c.Args[0], c)
	}
	return notOwn()
}

// subjectMayProve reports why a subject may not have a record proved.
func (s *Server) subjectMayProve(ctx context.Context, by Caller, key string) error {
	for _, p := range provableOfConsent {
		if id, ok := strings.CutPrefix(key, p); ok {
			return s.ownsConsent(ctx, by, id, Call{})
		}
	}
	for _, p := range provableDirectory {
		if strings.HasPrefix(key, p) {
			return nil
		}
	}
	return refuseRole("a subject may have only its consent, its usage and the directory proved")
}

// subjectMayProveReceipt reports why a subject may not have a transaction's
// receipt proved: it must be a request under its consent.
func (s *Server) subjectMayProveReceipt(ctx context.Context, by Caller, txID string) error {
	return s.ownsRequest(ctx, by, txID, Call{})
}

// ownsConsent is nil if the consent's principalKey is the caller's. The state
// that is read is at least as new as the one that the call at hand asks for.
func (s *Server) ownsConsent(ctx context.Context, by Caller, id string, at Call) error {
	var consent struct {
		PrincipalKey string `json:"principalKey"`
	}
	if err := s.readFor(ctx, by, at, record.ContractConsent, "Get", id, &consent); err != nil {
		return err
	}
	if consent.PrincipalKey != record.FormatAddress(by.Address) {
		return notOwn()
	}
	return nil
}

func (s *Server) ownsRequest(ctx context.Context, by Caller, id string, at Call) error {
	var request struct {
		ConsentID string `json:"consentId"`
	}
	if err := s.readFor(ctx, by, at, record.ContractAccess, "GetRequest", id, &request); err != nil {
		return err
	}
	return s.ownsConsent(ctx, by, request.ConsentID, at)
}

// readFor reads a record to decide on. A refusal of whatever kind (no such
// record, an id in another form) becomes notOwn, so that it tells nothing.
func (s *Server) readFor(ctx context.Context, by Caller, at Call, contract, function, id string, into any) error {
	payload, _, err := s.cfg.Reads.Evaluate(ctx, Call{
		Caller: by, Contract: contract, Function: function, Args: []string{id}, MinHeight: at.MinHeight, Wait: at.Wait,
	})
	var refusal *record.Refusal
	if errors.As(err, &refusal) {
		return notOwn()
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return &api.Error{Code: assentv1.Code_CODE_INTERNAL, Cause: errors.New(contract + "." + function + " returned no record")}
	}
	return nil
}
