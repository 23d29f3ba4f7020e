package pg_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// serverError is an error with a code, as both drivers have it.
type serverError struct{ state, message string }

func (e serverError) Error() string    { return e.message }
func (e serverError) SQLState() string { return e.state }

// What would be refused again is permanent, whatever its class; what passes by itself is not.
func TestIsPermanent(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]bool{
		"22P02": true, "23505": true, "P0001": true, "0A000": true, "54000": true, "42501": true, "42P01": true, "25P02": true, "XX000": true,
		"40001": false, "40P01": false, "08006": false, "53300": false, "57P01": false, "57P03": false, "57014": false, "55P03": false,
		"25006": false, "25P03": false, "58030": false, "": false,
	} {
		if got := pg.IsPermanent(serverError{state, "x"}); got != want {
			t.Errorf("%s: permanent %t, want %t", state, got, want)
		}
		if got, want := pg.IsForAWhile(serverError{state, "x"}), state == "42501" || state == "42P01"; got != want {
			t.Errorf("%s: for a while %t, want %t", state, got, want)
		}
	}
	if pg.IsPermanent(errors.New("no code")) {
		t.Error("an error that is not the server's is permanent")
	}
}

// One code has many reasons behind a pooler: the advice is for the one that there is.
func TestAdvice(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"FATAL: unsupported startup parameter: search_path":                        "ignore_startup_parameters",
		"FATAL: no more connections allowed (max_client_conn)":                     "SetMaxOpenConns",
		"FATAL: server login has been failing, try again later":                    "log in",
		"FATAL: query_wait_timeout":                                                "pool size",
		"FATAL: prepared statement name is already in use":                         "refused to prepare before",
		"bind message supplies 2 parameters, but prepared statement \"\" requires": "default_query_exec_mode",
		"something else": "default_query_exec_mode",
	} {
		err := pg.Problem("read", serverError{"08P01", message})
		wantAdvice(t, err, "08P01", want)
		if prepared := strings.Contains(err.Error(), "default_query_exec_mode"); prepared != (want == "default_query_exec_mode") {
			t.Errorf("%v: speaks of prepared statements: %t", err, prepared)
		}
	}
	wantAdvice(t, pg.Problem("read", serverError{"53300", "too many clients already"}), "53300", "SetMaxOpenConns")
}

// A statement_timeout of the server's is told as such; the end of a context of ours is not.
func TestServersStatementTimeout(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		db := pgtest.Empty(t).Open(t, access)
		db.SetMaxOpenConns(1)
		kit.Exec(t, db, `SET statement_timeout = 50`)
		_, err := pg.New(db, pg.Options{Statements: pg.Single, Timeout: kit.Patience}).Exec(t.Context(), slow)
		wantAdvice(t, pg.Problem("read", err), "57014", "statement_timeout")
		kit.Exec(t, db, `SET statement_timeout = 0`)
		_, err = pg.New(db, pg.Options{Statements: pg.Single, Timeout: 50e6}).Exec(t.Context(), slow)
		if err = pg.Problem("read", err); !errors.Is(err, pg.ErrTimeout) || strings.Contains(err.Error(), "statement_timeout") {
			t.Errorf("%v, want Config.Timeout alone", err)
		}
	}
}

// The name of a statement is read back from its text.
func TestNameOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"WITH /* workflow claim_runs */ a AS (SELECT 1) SELECT 1": "claim_runs",
		"SELECT 1": "", "SELECT /* other */ 1": "", "SELECT /* workflow open": "",
	} {
		if got := pg.NameOf(text); got != want {
			t.Errorf("NameOf(%q) = %q, want %q", text, got, want)
		}
	}
	if readOne.Name() != "read_one" {
		t.Errorf("name %q", readOne.Name())
	}
}
