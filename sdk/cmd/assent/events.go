package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
)

func (a *app) eventsCmd() *cobra.Command {
	var f sdk.EventFilter
	var from, consent, party, file string
	var count int
	cmd := leaf("events", "Follow contract events; one line each", func(c *cobra.Command, _ []string) error {
		f.Consent, f.Party = sdk.ConsentID(consent), sdk.OrgID(party)
		at, err := start(from, file)
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		for ev, err := range client.Events(c.Context(), at, f) {
			if err != nil {
				if c.Context().Err() != nil {
					return nil // the user has enough
				}
				return err
			}
			if err := a.showEvent(ev); err != nil {
				return err
			}
			if file != "" {
				if err := durable.Output(file, []byte(ev.Next.String()+"\n"), 0o644); err != nil {
					return fmt.Errorf("keep the place reached, %s: %w", ev.Next, err)
				}
			}
			if count--; count == 0 {
				return nil
			}
		}
		return nil
	})
	fl := cmd.Flags()
	fl.StringVar(&from, "from", "", "checkpoint height.index (default: the next block)")
	fl.StringVar(&file, "checkpoint", "", "file that keeps the place reached, replaced as a whole after each event; read at the start if it exists")
	fl.StringSliceVar(&f.Contracts, "contract", nil, "only this contract's; repeat")
	fl.StringSliceVar(&f.Names, "name", nil, "only events of this name; repeat")
	fl.StringVar(&consent, "consent", "", "only of this consent")
	fl.StringVar(&party, "party", "", "only of records with this party")
	fl.IntVar(&count, "count", 0, "end after so many (default: never)")
	return cmd
}

// start is the checkpoint file's place if there is one, else from.
func start(from, file string) (*sdk.Checkpoint, error) {
	if file != "" {
		b, err := readFile(file, maxCheckpointFile)
		if err == nil {
			return placeIn(file, b)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, usageError{err}
		}
	}
	if from == "" {
		return nil, nil
	}
	p, err := sdk.ParseCheckpoint(from)
	if err != nil {
		return nil, usageError{err}
	}
	return &p, nil
}

const maxCheckpointFile = 1 << 10

// placeIn reads a checkpoint file. What is not a whole line, such as "12" of
// "120.3", was torn by a crash of a program that does not write it as a whole; to
// guess would skip events or tell them twice.
func placeIn(file string, b []byte) (*sdk.Checkpoint, error) {
	line, whole := strings.CutSuffix(string(b), "\n")
	p, err := sdk.ParseCheckpoint(strings.TrimSpace(line))
	if !whole || err != nil || !strings.Contains(line, ".") {
		return nil, usageError{fmt.Errorf("checkpoint file %s holds %.40q, no line with a place such as 120.0: it is damaged; put the place of the last event dealt with into it, or remove it and give --from", file, b)}
	}
	return &p, nil
}

func (a *app) showEvent(ev sdk.Event) error {
	v := map[string]any{
		"height": ev.Height, "index": ev.Index, "txId": ev.TxID.Hex(), "contract": ev.Contract, "name": ev.Name,
		"payload": value(ev.Payload), "time": ev.BlockTime, "next": ev.Next.String(),
	}
	return a.show(v, func(w io.Writer) {
		payload, _ := json.Marshal(value(ev.Payload))
		fmt.Fprintf(w, "%s %s.%s %s %s\n", ev.Next, ev.Contract, ev.Name, ev.TxID, payload)
	})
}
