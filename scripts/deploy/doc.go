// Package deploy tests what lies beside it, as far as the tools of the machine go:
// the alerting rules by playing series to promtool, the dashboard's queries against the
// metrics that there are, the systemd unit with systemd-analyze, the image's recipe by running the very
// build command that it contains and the program that comes out of it. It has no
// code outside its tests.
//
// assentd.pgo is a CPU profile of four validators under load, for the compiler
// (go build -pgo). It changes no behaviour; a stale one only helps less. To take
// it anew on a quiet machine:
//
//	go run ./scripts/bench --seconds 20 --profile DIR
//	go tool pprof -proto -output scripts/deploy/assentd.pgo DIR/*-validator-*.cpu.pprof
package deploy
