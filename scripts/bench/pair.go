package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// round is how long one network is loaded while the other rests.
const round = 1500 * time.Millisecond

// pairReport is the JSON object of a comparison.
type pairReport struct {
	Consents int `json:"consents"`
	Rounds   int `json:"rounds"`

	CPUPer1k      float64 `json:"cpuPer1k"` // of --assentd or the program built here, median
	AgainstPer1k  float64 `json:"againstPer1k"`
	Ratio         float64 `json:"ratio"` // median of the rounds' ratios; below 1: cheaper than --against
	RatioLow      float64 `json:"ratioLow"`
	RatioHigh     float64 `json:"ratioHigh"` // a quarter of the rounds lie below low, a quarter above high
	Bytes         float64 `json:"bytesPerRequest"`
	AgainstBytes  float64 `json:"againstBytesPerRequest"`
	RSSMB         float64 `json:"rssMB"`
	AgainstRSSMB  float64 `json:"againstRssMB"`
	SignatureUs   float64 `json:"signatureUs"`
	RequestsPerS  float64 `json:"tps"`
	AgainstPerSec float64 `json:"againstTps"`
}

// pair compares two programs on a machine that others use: a network of each, loaded
// in turns. Whatever slows the machine slows both, so that the ratio of neighbouring
// rounds says what absolute figures cannot.
func pair(ctx context.Context, dir string, o options) (err error) {
	var nets [2]*bench
	defer func() {
		for _, b := range nets {
			if b != nil {
				err = errors.Join(err, b.close())
			}
		}
	}()
	for i := range nets {
		at := o
		if i == 1 {
			at.program = o.against
		}
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return err
		}
		if nets[i], err = open(ctx, sub, at); err != nil {
			return err
		}
		nets[i].progress("network %d: consents …", i)
		if err := nets[i].makeConsents(ctx); err != nil {
			return err
		}
		if _, err := nets[i].load(ctx, 2*round); err != nil { // warm up
			return err
		}
	}
	r, err := inTurns(ctx, nets, o)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf("%.2f CPU-s per 1,000 requests against %.2f: ratio %.3f (%.3f to %.3f) in %d rounds; memory %.0f MB against %.0f\n",
		r.CPUPer1k, r.AgainstPer1k, r.Ratio, r.RatioLow, r.RatioHigh, r.Rounds, r.RSSMB, r.AgainstRSSMB)
	return nil
}

// inTurns loads one network and then the other, the other one first in every second
// round.
func inTurns(ctx context.Context, nets [2]*bench, o options) (*pairReport, error) {
	var cpu, tps, written [2][]float64
	var ratios, yardstick []float64
	for n := range o.rounds {
		us, err := signatureCost()
		if err != nil {
			return nil, err
		}
		yardstick = append(yardstick, us)
		var now [2]float64
		for k := range nets {
			i := (k + n) % 2
			m, err := nets[i].load(ctx, round)
			if err != nil {
				return nil, err
			}
			now[i] = m.nodes.cpu.Seconds() / m.requests * 1000
			cpu[i] = append(cpu[i], now[i])
			tps[i] = append(tps[i], m.requests/m.took.Seconds())
			written[i] = append(written[i], float64(m.nodes.written)/m.requests/float64(len(nets[i].net.Nodes)))
		}
		ratios = append(ratios, now[0]/now[1])
		nets[0].progress("round %d: %.2f against %.2f, ratio %.3f, median so far %.3f", n+1, now[0], now[1], now[0]/now[1], median(ratios))
	}
	r := &pairReport{
		Consents: o.consents, Rounds: o.rounds, CPUPer1k: median(cpu[0]), AgainstPer1k: median(cpu[1]),
		Ratio: median(ratios), RatioLow: quantile(ratios, 0.25), RatioHigh: quantile(ratios, 0.75),
		Bytes: median(written[0]), AgainstBytes: median(written[1]), SignatureUs: median(yardstick),
		RequestsPerS: median(tps[0]), AgainstPerSec: median(tps[1]),
	}
	for i, sum := range []*float64{&r.RSSMB, &r.AgainstRSSMB} {
		for _, x := range nets[i].net.Nodes {
			kb, err := peakRSS(x.PID)
			if err != nil {
				return nil, err
			}
			*sum += float64(kb) / 1024
		}
	}
	return r, nil
}
