package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
	"github.com/assent-network/assent/sdk"
)

const secondBank = 1

// pgBank is the second bank's database: a schema of its own with one table, and an
// account that may read that table and nothing else.
type pgBank struct {
	server   *pgtest.Server // nil when the server is somebody else's
	admin    *url.URL       // with its password
	schema   string         // also the name of the reading account
	password string         // of the reading account, a file
}

// vaultOf is where a bank's customers are.
func (t *teller) vaultOf(bank int) config.Vault {
	v := vaultFor(bank, t.vaultPath(bank))
	if bank == secondBank && t.pg != nil {
		v.Connector, v.Source, v.Password, v.Table = "postgres", t.pg.readerURL(), "file:"+t.pg.password, t.pg.schema+"."+tableName
	}
	return v
}

// openPostgres starts a private server, or takes the one given, and makes the
// schema and the account that only reads.
func (t *teller) openPostgres(ctx context.Context) error {
	if t.opts.pg == "" {
		return nil
	}
	var id, secret [8]byte
	rand.Read(id[:])
	rand.Read(secret[:])
	p := &pgBank{schema: "assent_demo_" + hex.EncodeToString(id[:]), password: filepath.Join(t.dir, "vault-password")}
	t.pg = p // from here on closePostgres sees to it
	if t.opts.pg == "auto" {
		t.chapter("The second bank keeps its customers on PostgreSQL: a private server starts.")
		server, err := pgtest.Start(ctx)
		if err != nil {
			return err
		}
		p.server, t.opts.pg = server, server.AdminURL(pgtest.Database)
	} else {
		t.chapter("The second bank keeps its customers on the PostgreSQL server given.")
	}
	var err error
	if p.admin, err = url.Parse(t.opts.pg); err != nil || p.admin.Scheme != "postgres" && p.admin.Scheme != "postgresql" {
		return errors.New("--postgres: want auto or a URL such as postgres://admin@localhost/db") // the value may hold a password
	}
	if err := os.WriteFile(p.password, []byte(hex.EncodeToString(secret[:])+"\n"), 0o600); err != nil {
		return err
	}
	return p.exec(ctx,
		"CREATE SCHEMA "+p.schema,
		"CREATE ROLE "+p.schema+" LOGIN PASSWORD '"+hex.EncodeToString(secret[:])+"'")
}

// exec runs SQL as the administrator.
func (p *pgBank) exec(ctx context.Context, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", p.admin.String())
	if err != nil {
		return errors.New("--postgres: the driver does not understand the URL")
	}
	defer db.Close()
	for _, text := range statements {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("--postgres: the account of the URL must be able to create schemas and roles: %w", err)
		}
	}
	return nil
}

// readerURL is the administrator's URL with the account that only reads.
func (p *pgBank) readerURL() string {
	u := *p.admin
	u.User = url.User(p.schema)
	q := u.Query()
	q.Del("password")
	q.Del("user")
	u.RawQuery = q.Encode()
	return u.String()
}

// loadAsOwner lets the bank's import create and fill the table as the
// administrator; the password goes through the environment.
func (p *pgBank) loadAsOwner(cmd *exec.Cmd) {
	u := *p.admin
	u.User = url.User(p.admin.User.Username())
	cmd.Args = append(cmd.Args, "--owner", u.String())
	if secret, ok := p.admin.User.Password(); ok {
		cmd.Env = append(os.Environ(), "ASSENT_DEMO_OWNER="+secret)
		cmd.Args = append(cmd.Args, "--owner-password", "env:ASSENT_DEMO_OWNER")
	}
}

// closePostgres leaves nothing behind.
func (t *teller) closePostgres() error {
	p := t.pg
	switch {
	case p == nil || p.server == nil && p.admin == nil:
		return nil
	case p.server != nil:
		return p.server.Close()
	}
	return p.exec(context.Background(), "DROP SCHEMA IF EXISTS "+p.schema+" CASCADE", "DROP ROLE IF EXISTS "+p.schema)
}

func (t *teller) keepPostgres() {
	p := t.pg
	if p == nil {
		return
	}
	t.say("%s is on %s, schema %s", banks[secondBank], p.admin.Redacted(), p.schema)
	if p.server != nil {
		p.server.Release()
		t.say("Stop that server with: kill -INT %d && rm -r %s", p.server.PID, p.server.Dir)
	}
}

// askSecondBank: a customer of the second bank, who has no wallet and whom the
// bank authenticates itself, agrees, and the answer comes out of PostgreSQL.
func (t *teller) askSecondBank(ctx context.Context) error {
	if t.pg == nil {
		return nil
	}
	who, err := t.choose(secondBank)
	if err != nil {
		return err
	}
	lend, err := t.client(ctx, lender, "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	consent, err := t.agreeAtTheBank(ctx, lend, who)
	if err != nil {
		return err
	}
	q := sdk.QueryRequest{Consent: consent, Template: templateID(secondBank, "worst-status"), Purpose: record.CreditChecking}
	r, err := lend.Query(ctx, q)
	if err != nil {
		return fmt.Errorf("query of %s: %w", banks[secondBank], err)
	}
	if r.Answer == nil {
		return fmt.Errorf("the query of %s was denied with %s", banks[secondBank], r.Decision.Code)
	}
	v := r.Verified
	t.result.SecondBank = &answered{
		Template: string(q.Template), Value: r.Answer.Value, RequestID: string(r.Decision.RequestID),
		ReceiptVerified: v != nil && v.Receipt.Outcome == record.Answered,
		ProofVerified:   v != nil && v.ReceiptProof != nil && v.RequestProof != nil,
		OpenedMs:        ms(r.Timing.Opened), VerifiedMs: ms(r.Timing.Verified),
	}
	t.chapter("A customer of %s agrees at the counter; the bank answers out of PostgreSQL: %s", banks[secondBank], r.Answer.Value)
	t.say("(opened after %.1f ms, verified after %.1f ms)", ms(r.Timing.Opened), ms(r.Timing.Verified))
	if want := expectedWorst(who); r.Answer.Value != want {
		return fmt.Errorf("the answer of %s is %s, its row says %s", banks[secondBank], r.Answer.Value, want)
	}
	return nil
}

// agreeAtTheBank is a consent that the bank authorises for a customer in front
// of it.
func (t *teller) agreeAtTheBank(ctx context.Context, lend *sdk.Client, who *customer) (sdk.ConsentID, error) {
	terms, err := lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: sdk.OrgID(banks[secondBank]), Product: productID(secondBank), Templates: []sdk.TemplateID{templateID(secondBank, "worst-status")},
		Purposes: []sdk.Purpose{record.CreditChecking}, Expires: time.Now().Add(24 * time.Hour), MaxUses: 1, NoticeHash: t.cast.notices[secondBank],
	})
	if err != nil {
		return "", fmt.Errorf("draft consent: %w", err)
	}
	prepared, err := lend.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: who.identity})
	if err != nil {
		return "", err
	}
	if _, err := lend.Consents().Create(ctx, prepared); err != nil {
		return "", fmt.Errorf("create consent: %w", err)
	}
	bank, err := t.client(ctx, banks[secondBank], "officer")
	if err != nil {
		return "", err
	}
	defer bank.Close()
	if err := bank.BindConsent(ctx, terms.ConsentID, who.identity); err != nil {
		return "", fmt.Errorf("%s binds the consent: %w", banks[secondBank], err)
	}
	var evidence sdk.Hash
	rand.Read(evidence[:])
	if _, err := bank.Consents().Authorise(ctx, terms.ConsentID, record.ProviderAuthenticated, sdk.Evidence{EvidenceHash: evidence}); err != nil {
		return "", fmt.Errorf("authorise consent: %w", err)
	}
	return terms.ConsentID, nil
}
