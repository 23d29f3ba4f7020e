package migrations

import (
	"errors"
	"fmt"
)

// SQLSTATEs that mean something here.
const (
	insufficientPrivilege = "42501"
	unknownPrepared       = "26000"
	duplicatePrepared     = "42P05"
	lockNotAvailable      = "55P03"
	deadlockDetected      = "40P01"
)

func (s *state) schemaGrants() string {
	return fmt.Sprintf("an administrator of the database has to run CREATE SCHEMA %s AUTHORIZATION %s or GRANT CREATE ON DATABASE %s TO %s",
		s.schema, s.role, s.database, s.role)
}

func (s *state) ownerGrants() string {
	return fmt.Sprintf("migrate as the owner of schema %s and its tables, here the role is %s; the owner of an empty schema may GRANT USAGE, CREATE ON SCHEMA %s TO %s",
		s.schema, s.role, s.schema, s.role)
}

func (s *state) readGrants() string {
	return fmt.Sprintf("the owner has to run GRANT USAGE ON SCHEMA %s TO %s and GRANT SELECT ON %s.workflow_migrations, %s.workflow_schema TO %s",
		s.schema, s.role, s.schema, s.schema, s.role)
}

// explain adds to an error what usually helps against it; rights is what helps against a missing right, if known.
func explain(err error, rights string) error {
	switch state := sqlState(err); {
	case state == insufficientPrivilege && rights != "":
		return fmt.Errorf("%w (%s)", err, rights)
	case state == unknownPrepared, state == duplicatePrepared:
		return fmt.Errorf("%w (a pooler in transaction mode does not keep prepared statements: "+
			"with pgx set default_query_exec_mode=exec, or use PgBouncer 1.21 or later with max_prepared_statements)", err)
	}
	return err
}

// sqlState returns the SQLSTATE of a driver's error, or "". Both lib/pq and pgx have the method.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}
