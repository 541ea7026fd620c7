package network

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A frame is: uvarint length of what follows, one kind byte, body. The length
// is in its shortest form and in at most four bytes.
const (
	kindMessage  byte = 1 // one-way classes
	kindRequest  byte = 2
	kindResponse byte = 3
	kindError    byte = 4 // body is a text for people

	// maxFrame bounds kind and body together: what four uvarint bytes can say.
	maxFrame = 1<<28 - 1

	// firstPiece is what a length prefix alone can make us allocate.
	firstPiece = 64 * kib
	readBuffer = 16 * kib
)

var (
	errFrameLength = errors.New("frame length is zero, too long or not in its shortest form")
	errFrameSize   = errors.New("frame exceeds the limit")
	errFrameKind   = errors.New("unexpected kind of frame")
)

// appendFrameHeader appends length and kind of a frame with a body of n bytes.
func appendFrameHeader(dst []byte, kind byte, n int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)+1)
	return append(dst, kind)
}

// frameSource is a stream as the decoder sees it.
type frameSource interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// frameReader decodes frames from one stream. It waits for the first byte of a
// frame as long as the stream lives; from then on a deadline runs.
type frameReader struct {
	src     frameSource
	br      *bufio.Reader
	limit   int           // bytes of a body
	timeout time.Duration // of a frame that has begun, plus perSecond

	inFrame bool          // a frame has begun
	extra   time.Duration // what its length adds to timeout
	armed   bool          // a deadline is set on src
	rearm   bool          // … but it is an earlier frame's, or does not know extra yet
}

// perSecond is the slowest a large frame may arrive after timeout has passed.
const perSecond = 256 * kib

func newFrameReader(src frameSource, limit int, timeout time.Duration) *frameReader {
	r := &frameReader{src: src, limit: limit, timeout: timeout}
	r.br = bufio.NewReaderSize(deadlineReader{r}, readBuffer)
	return r
}

// deadlineReader is what bufio reads from: it touches the stream's deadline
// only when the buffer ran dry, so that small frames cost no timer.
type deadlineReader struct{ *frameReader }

func (r deadlineReader) Read(p []byte) (int, error) {
	switch {
	case r.inFrame && (!r.armed || r.rearm):
		if err := r.src.SetReadDeadline(time.Now().Add(r.timeout + r.extra)); err != nil {
			return 0, err
		}
		r.armed, r.rearm = true, false
	case !r.inFrame && r.armed:
		if err := r.src.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
		r.armed = false
	}
	return r.src.Read(p)
}

// begin starts the deadline before the first byte of a frame has arrived.
func (r *frameReader) begin() { r.inFrame = true }

// next returns the next frame. The body is the caller's to keep. io.EOF means
// that the stream ended between two frames. After any error the stream is of no
// further use.
func (r *frameReader) next() (kind byte, body []byte, err error) {
	defer func() { r.inFrame, r.extra, r.rearm = false, 0, true }()
	first, err := r.br.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	r.inFrame = true
	length, err := r.length(first)
	if err != nil {
		return 0, nil, noEOF(err)
	}
	if length-1 > r.limit {
		return 0, nil, fmt.Errorf("body of %d bytes, limit %d: %w", length-1, r.limit, errFrameSize)
	}
	if length > perSecond {
		r.extra = time.Duration(length/perSecond) * time.Second
		r.rearm = true
	}
	if kind, err = r.br.ReadByte(); err != nil {
		return 0, nil, noEOF(err)
	}
	if body, err = readGrowing(r.br, length-1); err != nil {
		return 0, nil, noEOF(err)
	}
	return kind, body, nil
}

// length decodes the uvarint that starts with first.
func (r *frameReader) length(first byte) (int, error) {
	b, n := first, 0
	for shift := 0; ; shift += 7 {
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			if n == 0 || (b == 0 && shift > 0) {
				return 0, errFrameLength
			}
			return n, nil
		}
		if shift == 21 {
			return 0, errFrameLength
		}
		var err error
		if b, err = r.br.ReadByte(); err != nil {
			return 0, err
		}
	}
}

// readGrowing reads n bytes, never holding more than twice what arrived plus
// firstPiece: a peer that announces much and sends little costs little.
func readGrowing(src io.Reader, n int) ([]byte, error) {
	body := make([]byte, min(n, firstPiece))
	got := 0
	for {
		m, err := io.ReadFull(src, body[got:])
		got += m
		if err != nil {
			return nil, err
		}
		if got == n {
			return body, nil
		}
		larger := make([]byte, min(n, 2*got))
		copy(larger, body)
		body = larger
	}
}

// noEOF: inside a frame an end of the stream is an accident.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
