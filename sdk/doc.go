// Package sdk is the client of an Assent network: it submits, reads, queries,
// and believes nothing that a quorum of validators has not signed when asked to
// prove it.
//
// It promises that a retry never acts twice (the same transaction keeps its id,
// and an outcome nobody knows is a *CommitUnknown, never a guess); that every
// error says where, what and what to do, and whether trying again can help
// (Retryable); that proofs are checked against the genesis config alone; and
// that it logs no personal data and no key. It leaves to others what runs on the
// node, and to sdk/wallet the subject's side of consent.
//
// In the order of use:
//
// Connect. A client needs one thing from a source it trusts: the genesis config,
// or its hash.
//
//	client, err := sdk.Dial(ctx, []string{"https://node.example:7443"},
//		sdk.WithGenesis(genesis), sdk.WithIdentity("acme", signer), sdk.WithTLSPin(pin))
//
// Ask a subject. The lender drafts terms, shows them to the subject's wallet as a
// link (sdk/wallet), gets a principal key with its endorsement, and creates the
// consent; the wallet signs, and anybody brings the signature.
//
//	terms, err := client.Consents().Draft(ctx, sdk.ConsentDraft{ … })
//	prepared, err := client.Consents().Prepare(ctx, terms, part)
//	consent, err := client.Consents().Create(ctx, prepared)
//	consent, err = client.Consents().Authorise(ctx, id, "WALLET", evidence)
//
// Query. Query does all steps; Queries does them one by one.
//
//	r, err := client.Query(ctx, sdk.QueryRequest{Consent: id, Template: "income-band", Purpose: "CreditChecking"})
//	if r.Decision.Permit { use(r.Answer.Value) }
//
// Prove. Proofs shows records and receipts under certified headers, Uses the
// complete list of uses of a consent, Compare whether one's own node lags or
// lies; VerifyBundle checks an exported proof without any connection.
//
// Follow. Events yields contract events from a checkpoint on.
//
// Anything else is Invoke and Evaluate with the contract's own names, or, with
// keys kept elsewhere, NewTransaction, Digest, WithSignature and Submit.
package sdk
