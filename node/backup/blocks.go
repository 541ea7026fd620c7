package backup

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// An entry of blocks is a sequence of pairs: a block's encoding and its
// certificate's, each behind its length as a uvarint. Block 0 has no certificate.

// ChunkBytes is the size from which an entry of blocks is full.
const ChunkBytes = 4 << 20

// maxBlock bounds one encoded block or certificate.
const maxBlock = 32 << 20

// AppendBlock adds a block to an entry.
func AppendBlock(b, block, cert []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(block)))
	b = append(b, block...)
	b = binary.AppendUvarint(b, uint64(len(cert)))
	return append(b, cert...)
}

// ReadBlocks hands the blocks of an entry to f, one at a time; f owns the bytes.
func ReadBlocks(r io.Reader, f func(block, cert []byte) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		block, err := readPiece(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		cert, err := readPiece(in)
		if err != nil {
			return unexpected(err)
		}
		if err := f(block, cert); err != nil {
			return err
		}
	}
}

func readPiece(in *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, err
	}
	if n > maxBlock {
		return nil, damaged("a block of %d bytes", n)
	}
	// Grown as the bytes come: the length alone is not believed.
	b, err := io.ReadAll(io.LimitReader(in, int64(n)))
	if err == nil && uint64(len(b)) < n {
		err = fmt.Errorf("a block is cut: %w", io.ErrUnexpectedEOF)
	}
	return b, err
}
