package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"
	"time"
)

// source is a stream that never has deadlines.
type source struct{ io.Reader }

func (source) SetReadDeadline(time.Time) error { return nil }

func decode(r io.Reader, limit int) *frameReader {
	return newFrameReader(source{r}, limit, time.Minute)
}

func TestFramesOfEverySizeComeBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var wire []byte
	var want [][]byte
	for _, n := range []int{0, 1, 126, 127, 128, 129, 16382, 16383, 16384, firstPiece - 1, firstPiece, firstPiece + 1, 3 * firstPiece, 2<<20 + 7} {
		body := make([]byte, n)
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		want = append(want, body)
		wire = append(appendFrameHeader(wire, byte(n%5), n), body...)
	}
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(wire), "halves": iotest.HalfReader(bytes.NewReader(wire)), "bytes": iotest.OneByteReader(bytes.NewReader(wire)),
	} {
		frames := decode(r, 4<<20)
		for i, body := range want {
			kind, got, err := frames.next()
			if err != nil || kind != byte(len(body)%5) || !bytes.Equal(got, body) {
				t.Fatalf("%s: frame %d: kind %d, %d bytes, %v", name, i, kind, len(got), err)
			}
		}
		if _, _, err := frames.next(); err != io.EOF {
			t.Fatalf("%s: after the last frame: %v", name, err)
		}
	}
}

func TestBadFrames(t *testing.T) {
	for name, c := range map[string]struct {
		wire []byte
		want error
	}{
		"zero length":          {[]byte{0}, errFrameLength},
		"padded length":        {[]byte{0x81, 0x00, 1}, errFrameLength},
		"five length bytes":    {[]byte{0x80, 0x80, 0x80, 0x80, 0x01}, errFrameLength},
		"one byte over":        {appendFrameHeader(nil, 1, 101), errFrameSize},
		"far over":             {binary.AppendUvarint(nil, maxFrame), errFrameSize},
		"ends in the length":   {[]byte{0x80}, io.ErrUnexpectedEOF},
		"ends before the kind": {[]byte{5}, io.ErrUnexpectedEOF},
		"ends before the body": {[]byte{5, 1}, io.ErrUnexpectedEOF},
		"ends within the body": {[]byte{5, 1, 'x'}, io.ErrUnexpectedEOF},
		"nothing":              {nil, io.EOF},
		"limit itself is fine": {append(appendFrameHeader(nil, 1, 100), make([]byte, 100)...), nil},
	} {
		if _, _, err := decode(bytes.NewReader(c.wire), 100).next(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A length that lies must cost what was sent, not what was announced.
func TestLyingLengthCostsNothing(t *testing.T) {
	wire := append(appendFrameHeader(nil, 1, 200<<20), make([]byte, 100)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const rounds = 100
	for range rounds {
		if _, _, err := decode(bytes.NewReader(wire), 200<<20).next(); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / rounds; per > firstPiece+readBuffer+4096 {
		t.Fatalf("a lie of 200 MiB cost %d bytes", per)
	}
}

// deadlines records what the decoder does with the deadline.
type deadlines struct {
	data []byte
	step int // bytes per read
	set  []bool
	last time.Time
}

func (d *deadlines) Read(p []byte) (int, error) {
	if len(d.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.data[:min(d.step, len(d.data))])
	d.data = d.data[n:]
	return n, nil
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set, d.last = append(d.set, !t.IsZero()), t
	return nil
}

func TestDeadlineRunsOnlyWithinAFrame(t *testing.T) {
	small := append(appendFrameHeader(nil, 1, 3), "abc"...)
	whole := &deadlines{data: bytes.Repeat(small, 3), step: 100}
	frames := newFrameReader(whole, 100, time.Minute)
	for range 3 {
		if _, _, err := frames.next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(whole.set) != 0 {
		t.Errorf("whole frames touched the deadline: %v", whole.set)
	}

	broken := &deadlines{data: append(bytes.Clone(small), small...), step: 2}
	frames = newFrameReader(broken, 100, time.Minute)
	for range 2 {
		if _, _, err := frames.next(); err != nil {
			t.Fatal(err)
		}
	}
	frames.next()
	if want := []bool{true, true, false}; !equal(broken.set, want) { // the second frame begins with the end of the first
		t.Errorf("frames in pieces set the deadline %v, want %v", broken.set, want)
	}

	large := &deadlines{data: append(appendFrameHeader(nil, 1, 4<<20), make([]byte, 4<<20)...), step: 1 << 20}
	began := time.Now()
	frames = newFrameReader(large, 4<<20, time.Minute)
	if _, _, err := frames.next(); err != nil {
		t.Fatal(err)
	}
	if extra := large.last.Sub(began) - time.Minute; extra < 15*time.Second || extra > 25*time.Second {
		t.Errorf("a frame of 4 MiB got %v more", extra)
	}

	waiting := &deadlines{data: small, step: 100}
	frames = newFrameReader(waiting, 100, time.Minute)
	frames.begin()
	if _, _, err := frames.next(); err != nil || !equal(waiting.set, []bool{true}) {
		t.Errorf("a frame that must begin: %v, deadlines %v", err, waiting.set)
	}
}

func equal(a, b []bool) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{5, 1, 'x'})
	f.Add(append(appendFrameHeader(nil, 1, 300), make([]byte, 300)...))
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x01})
	f.Fuzz(func(t *testing.T, wire []byte) {
		const limit = 1 << 12
		frames := decode(bytes.NewReader(wire), limit)
		var again []byte
		for {
			kind, body, err := frames.next()
			if err != nil {
				break
			}
			if len(body) > limit {
				t.Fatalf("a body of %d bytes passed a limit of %d", len(body), limit)
			}
			again = append(appendFrameHeader(again, kind, len(body)), body...)
		}
		if !bytes.HasPrefix(wire, again) {
			t.Fatal("decoded frames encode to other bytes: two encodings of one frame")
		}
	})
}

func FuzzAgreement(f *testing.F) {
	f.Add(appendProposal(nil, string(ProtocolSync)))
	f.Add([]byte("\x13/multistream/1.0.0\n\x03na\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		frames := decode(bytes.NewReader(wire), 100)
		err := readAgreement(frames.br, string(ProtocolSync))
		if want := appendProposal(nil, string(ProtocolSync)); err == nil && !bytes.HasPrefix(wire, want) {
			t.Fatalf("%q was taken for an agreement", wire)
		}
	})
}
