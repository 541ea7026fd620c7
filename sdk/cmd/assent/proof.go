package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
)

func (a *app) proofCmd() *cobra.Command {
	var out string
	rec := leaf("record KEY", "Prove a record (\"consent/rec/0x…\"), or that there is none", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		p, err := client.Proofs().Record(c.Context(), args[0])
		if err != nil {
			return err
		}
		b, err := client.Proofs().ExportRecord(p)
		if err != nil {
			return err
		}
		return a.showProof(&sdk.Proven{Record: p}, b, out)
	})
	rec.Flags().StringVarP(&out, "out", "o", "", "write the proof to this file")
	var keys []string
	receipt := leaf("receipt TRANSACTION", "Prove what became of a transaction", func(c *cobra.Command, args []string) error {
		id, err := parseHash(args[0])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		p, err := client.Proofs().Receipt(c.Context(), id, keys...)
		if err != nil {
			return err
		}
		b, err := client.Proofs().ExportReceipt(p)
		if err != nil {
			return err
		}
		return a.showProof(&sdk.Proven{Receipt: p}, b, out)
	})
	receipt.Flags().StringVarP(&out, "out", "o", "", "write the proof to this file")
	receipt.Flags().StringSliceVar(&keys, "key", nil, "also prove the row that the transaction wrote under this key; repeat")
	verify := leaf("verify FILE", "Verify a proof file with the genesis config alone, offline", func(_ *cobra.Command, args []string) error {
		p, err := a.settings()
		if err != nil {
			return err
		}
		if p.Genesis == "" {
			return usageError{errors.New("give --genesis: it is all that a proof needs")}
		}
		genesis, err := readFile(p.Genesis, sdk.MaxGenesisFile)
		if err != nil {
			return usageError{err}
		}
		b, err := a.input(args[0], sdk.MaxBundle)
		if err != nil {
			return err
		}
		proven, err := sdk.VerifyBundle(genesis, b)
		if err != nil {
			return err
		}
		return a.showProof(proven, nil, "")
	})
	return group("proof", "Proofs that need no trust in a node", rec, receipt, verify)
}

// value shows bytes as the JSON or text they are.
func value(b []byte) any {
	if json.Valid(b) {
		return json.RawMessage(b)
	}
	if utf8.Valid(b) {
		return string(b)
	}
	return b
}

func (a *app) showProof(p *sdk.Proven, bundle []byte, out string) error {
	if out != "" {
		if err := durable.Output(out, bundle, 0o644); err != nil {
			return err
		}
	}
	v := map[string]any{"verified": true}
	if out != "" {
		v["file"] = out
	}
	if r := p.Record; r != nil {
		v["key"], v["present"], v["height"], v["certifiedBy"] = r.Key, r.Present, r.Height, r.Header.Header.Hash().Hex()
		if r.Present {
			v["value"] = value(r.Value)
		}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "verified\tafter height %d, by header %d with %d votes\n", r.Height, r.Header.Header.Height, len(r.Header.Certificate.Votes))
			if r.Present {
				fmt.Fprintf(w, "%s\t%s\n", r.Key, r.Value)
			} else {
				fmt.Fprintf(w, "%s\tis absent\n", r.Key)
			}
		})
	}
	r := p.Receipt
	v["txId"], v["height"], v["index"], v["code"], v["certifiedBy"] = r.TxID.Hex(), r.Height, r.Index, string(r.Code), r.Header.Header.Hash().Hex()
	rows := map[string]any{}
	for k, b := range r.Records {
		rows[k] = value(b)
	}
	v["records"] = rows
	var wrote []string
	for _, w := range r.Proof.Writes {
		wrote = append(wrote, w.Key)
	}
	v["wrote"] = wrote
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "verified\tby header %d with %d votes\n", r.Header.Header.Height, len(r.Header.Certificate.Votes))
		fmt.Fprintf(w, "%s\t%s in block %d\n", r.TxID, r.Code, r.Height)
		fmt.Fprintf(w, "wrote\t%s\n", strings.Join(wrote, " "))
		for k, b := range r.Records {
			fmt.Fprintf(w, "%s\t%s\n", k, b)
		}
	})
}
