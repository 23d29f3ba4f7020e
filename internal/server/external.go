package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os/user"
	"strings"

	"github.com/lib/pq"
)

// Prefix begins the name of every database and role that tests of the run create.
func Prefix(run string) string { return "pgtest_" + run + "_" }

// useExternal takes a server that exists. Taking it down means to drop what tests left there.
func useExternal(ctx context.Context, o Options) (report, release, error) {
	u, host, err := normalize(o.URL)
	if err != nil {
		return report{}, nil, err
	}
	version, err := ask(ctx, u, "SHOW server_version")
	if err != nil {
		return report{}, nil, fmt.Errorf("connect to the given server: %w", err)
	}
	undo := func(ctx context.Context) error {
		if o.Run == "" {
			return nil
		}
		return sweep(ctx, u, Prefix(o.Run))
	}
	return report{URL: u, Source: "external server " + host, Version: version}, undo, nil
}

// normalize fills in what the drivers would guess differently: the user, and TLS, which lib/pq demands
// and pgx tries. A test server's URL that does not mention it means none.
func normalize(raw string) (full, host string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("parse the server's URL: not a URL") // the cause would show the password
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", "", errors.New("parse the server's URL: must begin with postgres:// or postgresql://")
	}
	if u.User.Username() == "" {
		me, err := user.Current()
		if err != nil {
			return "", "", fmt.Errorf("parse the server's URL: it names no user: %w", err)
		}
		u.User = url.User(me.Username)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/postgres"
	}
	query := u.Query()
	if !query.Has("sslmode") {
		query.Set("sslmode", "disable")
	}
	u.RawQuery = query.Encode()
	return u.String(), u.Host, nil
}

// ask returns the only value of the query's only row.
func ask(ctx context.Context, url, query string) (string, error) {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var answer string
	err = db.QueryRowContext(ctx, query).Scan(&answer)
	return answer, err
}

// sweep drops the databases, then the roles, whose names begin with prefix.
func sweep(ctx context.Context, url, prefix string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	like := strings.ReplaceAll(prefix, "_", `\_`) + "%"
	return errors.Join(
		dropAll(ctx, db, `SELECT datname FROM pg_database WHERE datname LIKE $1`, like, "DROP DATABASE IF EXISTS %s WITH (FORCE)"),
		dropAll(ctx, db, `SELECT rolname FROM pg_roles WHERE rolname LIKE $1`, like, "DROP ROLE IF EXISTS %s"),
	)
}

func dropAll(ctx context.Context, db *sql.DB, query, like, statement string) error {
	rows, err := db.QueryContext(ctx, query, like)
	if err != nil {
		return err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		names = append(names, name)
	}
	errs := []error{rows.Err()}
	for _, name := range names {
		_, err := db.ExecContext(ctx, fmt.Sprintf(statement, pq.QuoteIdentifier(name)))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
