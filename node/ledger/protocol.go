//go:build !protocolnext

package ledger

// Protocol is the newest protocol version that this program executes. A config
// that names a later one needs a later program.
const Protocol = 1
