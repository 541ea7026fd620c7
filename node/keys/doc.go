// Package keys owns a directory of private keys, one encrypted file each.
//
// Kinds: "vote" signs a validator's votes, "host" is a node's network identity,
// "client" signs transactions and tokens (admins' keys too), "data" opens what
// is sealed to a member (X25519), "tls" serves the API. A key is used for its
// kind alone.
//
// It promises: files are 0600 in a 0700 directory, and laxer ones are refused; a
// file is written whole and synced or not at all; a key is never overwritten; a
// wrong password changes nothing; no error, log line or String method shows key
// material or a password; what a file says is bounded before it is believed, so
// that a planted file can cost neither memory nor a crash.
//
// A file is Web3 secret storage, version 3 (scrypt with N 4096, r 8, p 6;
// AES-128-CTR; keccak256 MAC), with an "assent" object beside it that names kind
// and public key. Tools of the Ethereum world read secp256k1 keys from it. The
// light scrypt parameters take 4 MB and a tenth of a second; the standard ones
// would take 256 MB. Choose passwords accordingly: at least 16 random characters
// from a secret store.
//
// It leaves to others: which key is registered for what (the ledger), and keys
// behind a remote signer (any ledger.Signer will do).
package keys
