// Package console serves the pages on which a member's people look after their
// node: officers, operators, admins and auditors. Pages are Go templates with htmx;
// everything that they load is embedded, and nothing is asked of another machine.
//
// It owns the sessions: who signs in proves a client key of the member, by a token
// that the browser signs for one challenge; the key itself never leaves the page. A
// session ends after a quarter of an hour without a click, after eight hours, or
// when the ledger revokes the key, whichever is first. It promises that no page but
// the sign-in is shown without a session; that pages run no inline script and no
// script of others (strict Content-Security-Policy); that no request from another
// site changes anything; that one page costs a bounded number of reads, however
// large the ledger; and that no log line holds what a page shows.
//
// It leaves to others what the figures are (package node connects them), the TLS
// port (gateway), and the checks of answers and proofs that trust no node (sdk):
// what a page says about the ledger is this member's own node's word.
package console
