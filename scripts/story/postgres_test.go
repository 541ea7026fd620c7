package main

import (
	"database/sql"
	"testing"

	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
	"github.com/assent-network/assent/scripts/testnet"
)

// TestSecondBankAnswersFromPostgres tells the whole story on real processes, with
// the second bank's customers on the PostgreSQL server of a URL, and nothing left
// on that server afterwards.
func TestSecondBankAnswersFromPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("starts five processes")
	}
	server := pgtest.Own(t)
	program, err := testnet.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	admin := server.AdminURL(pgtest.Database)
	told, err := tell(t.Context(), options{json: true, rows: 200, seed: 3, program: program, pg: admin})
	if err != nil {
		t.Fatal(err)
	}
	r := told.(*result)
	if len(r.Vaults) != 2 || r.Vaults[0] != (onWhat{"harbour-bank", "sqlite"}) || r.Vaults[1] != (onWhat{"lake-bank", "postgres"}) {
		t.Errorf("the banks are on %+v", r.Vaults)
	}
	if b := r.SecondBank; b == nil || b.Template != "lake-bank.worst-status" || b.Value == "" || !b.ReceiptVerified || !b.ProofVerified {
		t.Errorf("the second bank's answer: %+v", b)
	}
	if !r.Answer.ReceiptVerified || r.PersonalDataFound != 0 || !r.PlantedValueFound || !r.SameHashOnAllNodes {
		t.Errorf("the rest of the story: %+v", r)
	}
	db, err := sql.Open("pgx", admin)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var left int
	if err := db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'assent_demo%') + (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'assent_demo%')`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d schemas and roles are left on the server: %v", left, err)
	}
}
