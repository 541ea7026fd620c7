// Package gateway serves the node's API: assent.v1 over Connect, gRPC, gRPC-Web
// and plain JSON on one TLS port, with /healthz and /readyz beside them.
//
// It owns who may call what: tokens, the roles of each method, the own consents
// of a subject, rates and sizes. It promises that no handler runs before its
// caller is known and allowed; that a key revoked on the ledger is refused at its
// next call, whatever token it holds; that every failure has a code of node/api;
// that a panic in a handler costs one call; and that no log line or error holds
// an argument, a payload, a token or a subject's key.
//
// It leaves to others what the calls do (the interfaces in backend.go, which the
// node connects) and how a certificate gets its key (keys).
package gateway
