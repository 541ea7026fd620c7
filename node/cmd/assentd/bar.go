package main

import (
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// bar shows the progress of one step after the other on a terminal, and nothing
// anywhere else.
type bar struct {
	progress *mpb.Progress
	current  *mpb.Bar
	step     string
}

func newBar(w io.Writer, quiet bool) *bar {
	f, ok := w.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return &bar{}
	}
	return &bar{progress: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))}
}

func (b *bar) set(step string, done, total uint64) {
	if b.progress == nil {
		return
	}
	if b.current == nil || step != b.step {
		if b.current != nil {
			b.current.SetTotal(-1, true)
		}
		b.step = step
		b.current = b.progress.AddBar(int64(total), mpb.PrependDecorators(decor.Name(step+" ")), mpb.AppendDecorators(decor.CountersNoUnit("%d / %d"), decor.Percentage(decor.WCSyncSpace)))
	}
	b.current.SetCurrent(int64(done))
}

func (b *bar) end() {
	if b.progress == nil {
		return
	}
	if b.current != nil {
		b.current.SetTotal(-1, true)
	}
	b.progress.Wait()
}
