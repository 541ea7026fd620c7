// Package deploy tests what lies beside it, as far as the tools of the machine go:
// the systemd unit with systemd-analyze, the image's recipe by running the very
// build command that it contains and the program that comes out of it. It has no
// code outside its tests.
package deploy
