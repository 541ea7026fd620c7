// Command story is what scripts/demo runs: a borrower agrees, a lender gets an
// answer it can verify but data it never sees, the borrower revokes, and the next
// question is refused; on four validator processes and an observer.
//
//	go run ./scripts/story [--scenario verifiable|exposure|cohort|lift] [--data FILE.csv] [--json] [--keep] [--postgres URL|auto]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

// result is the one JSON object that --json prints.
type result struct {
	Validators              int       `json:"validators"`
	Observers               int       `json:"observers"`
	RowsLoaded              int       `json:"rowsLoaded"` // over both banks; a customer of both counts twice
	Vaults                  []onWhat  `json:"vaults"`
	Answer                  answered  `json:"answer"`
	SecondBank              *answered `json:"secondBank,omitempty"` // with --postgres
	AfterRevocation         decision  `json:"afterRevocation"`
	SameHashOnAllNodes      bool      `json:"sameHashOnAllNodes"`
	SameStateRootOnAllNodes bool      `json:"sameStateRootOnAllNodes"`
	PersonalDataFound       int       `json:"personalDataFound"`
	PlantedValueFound       bool      `json:"plantedValueFound"`
}

type answered struct {
	Template        string  `json:"template"`
	Value           string  `json:"value"`
	RequestID       string  `json:"requestId"`
	ReceiptVerified bool    `json:"receiptVerified"`
	ProofVerified   bool    `json:"proofVerified"`
	OpenedMs        float64 `json:"openedMs"`
	VerifiedMs      float64 `json:"verifiedMs"`
}

// onWhat says on which kind of database a bank's vault is.
type onWhat struct {
	Bank      string `json:"bank"`
	Connector string `json:"connector"`
}

type decision struct {
	Decision string `json:"decision"`
	Code     string `json:"code"`
}

type options struct {
	scene   string
	data    string
	pg      string
	json    bool
	keep    bool
	rows    int
	seed    uint64
	program string
	picture string

	base       string // the story's directory is made in it
	applicants int    // of lift
}

// check says what is wrong with the options, and fills in what was left out.
func (o *options) check() error {
	scenes := []string{sceneVerifiable, sceneExposure, sceneCohort, sceneLift}
	switch {
	case o.scene != "" && !slices.Contains(scenes, o.scene):
		return fmt.Errorf("unknown scenario %q: there are %s, and the story without --scenario", o.scene, strings.Join(scenes, ", "))
	case (o.scene == sceneExposure || o.scene == sceneCohort) && o.pg != "":
		return fmt.Errorf("the scenario %s has no bank on PostgreSQL: leave --postgres out", o.scene)
	case o.picture != "" && o.scene != sceneLift:
		return fmt.Errorf("only the scenario %s draws a picture: leave --picture out", sceneLift)
	}
	if o.rows == 0 {
		o.rows = 3000
		switch o.scene {
		case sceneCohort:
			o.rows = 9000 // or the cohort is near k, and a bank's sum too short to be searched for
		case sceneLift:
			o.rows = 3 * liftApplicants
		}
	}
	return nil
}

// sceneVerifiable is the scenario of anchored answers.
const sceneVerifiable = "verifiable"

func main() {
	flag.CommandLine = flag.NewFlagSet("demo", flag.ExitOnError) // the default one holds flags of libraries
	o := options{base: ".assent", applicants: liftApplicants}
	flag.StringVar(&o.scene, "scenario", "", "verifiable: a bank that tells two lenders different things; exposure: a total over four banks; cohort: statistics over three; lift: what one answer is worth to a scorecard; default: the whole story of one consent")
	flag.StringVar(&o.data, "data", "", "CSV file with the columns of UCI_Credit_Card.csv; default: a generated sample")
	flag.StringVar(&o.pg, "postgres", "", "put the second bank on PostgreSQL: URL of an account that may create schemas and roles, or auto for a private server")
	flag.BoolVar(&o.json, "json", false, "print exactly one JSON object on standard output")
	flag.BoolVar(&o.keep, "keep", false, "leave the network running and print its addresses")
	flag.IntVar(&o.rows, "rows", 0, "customers in the generated sample; default: 3000, 9000 for cohort, 7500 for lift")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of everything invented")
	flag.StringVar(&o.picture, "picture", "", "SVG file that lift writes; default: .assent/lift.svg")
	flag.StringVar(&o.program, "assentd", "", "the node program; default: it is built")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: unknown argument %q: only --scenario NAME, --data FILE, --json, --keep, --postgres URL|auto, --rows N, --seed N and --picture FILE are known\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := tell(ctx, o)
	if err == nil && o.json {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		if o.json {
			_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"error": err.Error()}) // nobody is left to tell
		}
		stop()
		os.Exit(1)
	}
}

// tell runs the whole story in a directory of its own.
func tell(ctx context.Context, o options) (_ any, err error) {
	base, err := filepath.Abs(o.base)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(base, "demo-")
	if err != nil {
		return nil, err
	}
	t := &teller{out: os.Stdout, began: time.Now(), opts: o, dir: dir}
	if o.json {
		t.out = os.Stderr
	}
	defer func() {
		if o.keep && err == nil {
			return
		}
		if t.net != nil {
			if serr := t.net.Stop(); err == nil {
				err = serr
			}
		}
		if perr := t.closePostgres(); err == nil {
			err = perr
		}
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	if t.verifiable != nil {
		return t.verifiable, nil
	}
	if t.exposed != nil {
		return t.exposed, nil
	}
	if t.surveyed != nil {
		return t.surveyed, nil
	}
	if t.lifted != nil {
		return t.lifted, nil
	}
	return &t.result, nil
}

// teller tells the story and collects its figures.
type teller struct {
	out    io.Writer
	began  time.Time
	opts   options
	dir    string
	people []customer
	net    *testnet.Net
	pg     *pgBank // the second bank's database, with --postgres
	result result

	verifiable *verifiable // with that scenario
	exposed    *exposed    // with that scenario
	surveyed   *surveyed   // with that scenario
	lifted     *lifted     // with that scenario

	replies recorder // what the nodes' APIs answered
	cast    cast
	partKey []byte // of the wallet, for its copy of the sealed part
}

func (t *teller) chapter(format string, args ...any) {
	fmt.Fprintf(t.out, "\n%5.1fs  %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

func (t *teller) say(format string, args ...any) {
	fmt.Fprintf(t.out, "        %s\n", fmt.Sprintf(format, args...))
}

func (t *teller) run(ctx context.Context) error {
	chapters := []func(context.Context) error{
		t.openPostgres, t.makeNetwork, t.loadVaults, t.start, t.publish, t.agree, t.ask, t.askSecondBank, t.revoke, t.compare, t.search,
	}
	if t.opts.scene == sceneVerifiable {
		chapters = []func(context.Context) error{t.openPostgres, t.makeNetwork, t.loadVaults, t.start, t.publish, t.tellVerifiable}
	}
	if t.opts.scene == sceneExposure {
		chapters = []func(context.Context) error{t.makeLoanNetwork, t.tellExposure, t.searchFigures}
	}
	if t.opts.scene == sceneCohort {
		chapters = []func(context.Context) error{t.makeStatNetwork, t.tellCohort, t.searchSums}
	}
	if t.opts.scene == sceneLift {
		chapters = []func(context.Context) error{t.openPostgres, t.makeNetwork, t.loadVaults, t.start, t.publish, t.tellLift, t.searchLift}
	}
	for _, chapter := range chapters {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	if t.opts.keep {
		return t.leaveRunning(ctx)
	}
	t.chapter("Done. Everything was stopped and removed; --keep leaves the network running.")
	return nil
}
