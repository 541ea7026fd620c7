package api

import "time"

// Bounds of requests; the .proto files name them field by field. A node may be
// configured tighter, never wider.
const (
	MaxMessageBytes     = 512 << 10 // of one request in any encoding: base64 of 256 KiB fits
	MaxTransactionBytes = 256 << 10
	MaxNameBytes        = 64  // contract, function, member, consent id, event name
	MaxSubmitMany       = 256 // transactions of one SubmitMany
	MaxArgs             = 16
	MaxArgsBytes        = 64 << 10 // all arguments together
	MaxKeyBytes         = 512
	MaxProofKeys        = 16
	MaxFilters          = 16 // of each kind
	MaxSealedBytes      = 32 << 10
	MaxSubjectBytes     = 256
	MaxTemplateBytes    = 64 << 10
	MaxConfigProofs     = 32
	// MaxResponseBytes bounds what a client must be ready to read: a block with
	// its certificate.
	MaxResponseBytes = 6 << 20

	DefaultCommitWait = 10 * time.Second
	MaxWait           = 60 * time.Second
	Heartbeat         = 5 * time.Second // an event stream is never silent for longer
)

// Paths outside the services.
const (
	HealthPath = "/healthz"
	ReadyPath  = "/readyz"
)
