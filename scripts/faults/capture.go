package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/assent-network/assent/scripts/scan"
	"github.com/assent-network/assent/scripts/testnet"
)

// capturing has every node write down what it receives from others, without the
// transport's encryption: what a member's own operator could see on its sockets.
func capturing(ctx context.Context, p *play) error {
	for _, x := range p.net.Nodes {
		path := p.captured(x)
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := p.faulty(ctx, x, "capture="+path); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) captured(x *testnet.Node) string { return filepath.Join(p.dir, "capture-"+x.Name) }

// askWhileCapturing asks for statistics beside the ordinary questions of the load.
func askWhileCapturing(ctx context.Context, p *play) error {
	lend, err := p.net.Client(ctx, lenders[0], "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	r, err := lend.Cohort(ctx, testnet.LatePayers(2, counting...))
	if err != nil {
		return err
	}
	if !r.Decision.Permit {
		return errors.New("no statistics: " + string(r.Decision.Code))
	}
	return p.pause(ctx, p.duration)
}

// nothingCaptured looks for people and figures in everything that was received, in every
// disguise that package scan knows, and finds nothing but what is planted.
func nothingCaptured(_ context.Context, p *play) error {
	needles := scan.New()
	for i := range customers {
		if err := needles.Add("identity number", identity(i)); err != nil {
			return err
		}
	}
	for at := range counting {
		for k := range counted {
			if err := errors.Join(needles.Add("identity number", statPerson(at, k)), needles.Add("figure", strconv.Itoa(statLimit(at, k)))); err != nil {
				return err
			}
		}
	}
	pieces, size, counts := 0, 0, 0
	for _, x := range p.net.Nodes {
		frames, err := framesOf(p.captured(x))
		if err != nil {
			return fmt.Errorf("capture of %s: %w", x.Name, err)
		}
		if len(frames) == 0 {
			return fmt.Errorf("capture of %s: nothing was received", x.Name)
		}
		for _, f := range frames {
			pieces, size = pieces+1, size+len(f)
			if bytes.HasPrefix(f, []byte("assent/cohort-count/1")) {
				counts++
			}
			if n, what := needles.Count(f); n > 0 {
				return fmt.Errorf("%s received a message with a %s", x.Name, what)
			}
		}
		for _, plant := range []string{identity(3), statPerson(1, 7), strconv.Itoa(statLimit(2, 11))} {
			middle := frames[len(frames)/2]
			if n, _ := needles.Count(append(append(bytes.Clone(middle), plant...), middle...)); n == 0 {
				return errors.New("a planted value is not found")
			}
		}
	}
	if want := len(counting) * (len(counting) - 1); counts < want {
		return fmt.Errorf("%d counts of statistics were captured, want %d: the capture does not see them", counts, want)
	}
	fmt.Fprintf(os.Stderr, "  %d messages, %d KiB, %d counts of statistics: nobody and no figure in them\n", pieces, size>>10, counts)
	return nil
}

// framesOf reads a capture; a frame that a stop cut short is left out.
func framesOf(path string) (out [][]byte, err error) {
	b, err := os.ReadFile(path)
	for err == nil && len(b) >= 4 {
		n := int(binary.BigEndian.Uint32(b))
		if n > len(b)-4 {
			break
		}
		out, b = append(out, b[4:4+n]), b[4+n:]
	}
	return out, err
}
