package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// SQLSTATE codes that mean something to this package.
const (
	protocolViolation    = "08P01"
	notSupported         = "0A000"
	readOnlyTransaction  = "25006"
	inFailedTransaction  = "25P02"
	idleTimeout          = "25P03"
	missingStatement     = "26000"
	invalidSchemaName    = "3F000"
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	noPrivilege          = "42501"
	undefinedColumn      = "42703"
	duplicateStatement   = "42P05"
	undefinedTable       = "42P01"
	tooManyConnections   = "53300"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014"
)

// SQLState returns the code of an error from the server, "" for any other. Both lib/pq and pgx have the method.
func SQLState(err error) string {
	if err == nil { // before e is allocated
		return ""
	}
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// IsPermanent reports whether the server refused a statement in a way that it would refuse again: every error with an
// SQLSTATE but those that pass by themselves (serialization failures, deadlocks, lost connections, missing resources, a
// server that goes down or is a standby, time-outs, I/O errors). An [IsForAWhile] error is permanent until somebody puts it right.
func IsPermanent(err error) bool {
	state := SQLState(err)
	switch state {
	case "", serializationFailure, deadlockDetected, queryCanceled, lockNotAvailable, readOnlyTransaction, idleTimeout:
		return false
	}
	for _, passing := range []string{"08", "53", "57P0", "58"} {
		if strings.HasPrefix(state, passing) {
			return false
		}
	}
	return true
}

// IsForAWhile reports whether the server refused a statement for lack of a right, a table or a schema: it would refuse
// any other like it, until somebody grants or migrates.
func IsForAWhile(err error) bool {
	switch SQLState(err) {
	case noPrivilege, undefinedTable, invalidSchemaName:
		return true
	default:
		return false
	}
}

// IsUniqueViolation reports whether a statement was refused for a row with a key that is taken.
func IsUniqueViolation(err error) bool { return SQLState(err) == uniqueViolation }

// IsAborted reports whether a statement was refused because an earlier one of its transaction had failed.
func IsAborted(err error) bool { return SQLState(err) == inFailedTransaction }

// Problem wraps an error once, with the operation first and, where the server's code tells, what to do about it last.
func Problem(op string, err error) error {
	if err == nil {
		return nil
	}
	if advice := adviceFor(err); advice != "" {
		return fmt.Errorf("workflow: %s: %w (%s)", op, err, advice)
	}
	return fmt.Errorf("workflow: %s: %w", op, err)
}

func adviceFor(err error) string {
	switch SQLState(err) {
	case undefinedTable, invalidSchemaName, undefinedColumn:
		return "call Init, or run `workflow migrate up`, for the schema that Config.Schema names"
	case noPrivilege:
		return "docs/operations.md lists the GRANTs that the role of the application needs"
	case duplicateStatement, missingStatement:
		return preparedAdvice
	case protocolViolation:
		return protocolAdvice(err.Error())
	case tooManyConnections:
		return connectionsAdvice
	case readOnlyTransaction:
		return "the server is a standby or read-only: connect to the primary, with target_session_attrs=read-write " +
			"where several hosts are given; after a failover this passes by itself"
	case idleTimeout:
		return "the server rolled it back, for this process was silent inside a transaction for too long"
	case queryCanceled:
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return ""
		}
		return "the server ended it by itself: by the statement_timeout of the role or database, or by an administrator"
	default:
		return ""
	}
}

const (
	preparedAdvice = "a pooler shares server connections and does not keep prepared statements: " +
		"with pgx use PgBouncer 1.21 or later with max_prepared_statements, " +
		"or add default_query_exec_mode=exec to its connection string; " +
		"with lib/pq add binary_parameters=yes, or leave Config.Statements at Auto"
	connectionsAdvice = "the server or the pooler has no connection left: lower SetMaxOpenConns, " +
		"or raise max_connections there, max_client_conn of PgBouncer"
)

// protocolAdvice tells the reasons apart that poolers report with one code: only their words differ.
func protocolAdvice(message string) string {
	for _, reason := range []struct{ words, advice string }{
		{"startup parameter", "PgBouncer refuses a setting of the connection string: remove it there, set it for the role " +
			"(ALTER ROLE … SET), or name it in ignore_startup_parameters"},
		{"max_client_conn", connectionsAdvice},
		{"more connections allowed", connectionsAdvice},
		{"too many clients", connectionsAdvice},
		{"query_wait_timeout", "PgBouncer had no free server connection for too long: raise its pool size, or look for " +
			"transactions that stay open"},
		{"login", "PgBouncer cannot log in to the server: look at the server, and at PgBouncer's log"},
		{"statement name is already in use", "PgBouncer remembers a statement that the server refused to prepare before, and so hides the " +
			"reason: the first error tells it; if the tables are missing, call Init, or run `workflow migrate up`"},
		{"server conn crashed", "the server ended the connection: look at its log"},
	} {
		if strings.Contains(message, reason.words) {
			return reason.advice
		}
	}
	return preparedAdvice
}
