// Package readme holds the README to its word: its Go program compiles, its
// shell lines set a node up, its links lead somewhere. It is tests only.
package readme
