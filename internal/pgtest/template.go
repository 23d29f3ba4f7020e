package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/server"
	"github.com/sqlworkflow/workflow/migrations"
)

// templateLock is the advisory lock that test processes make the template under: "pgtest" in ASCII.
const templateLock = 0x706774657374

// prepareTemplate returns the name of a migrated database to clone, which the first test of the run makes.
func (i *instance) prepareTemplate() (string, error) {
	digest, err := digest(migrations.FS)
	if err != nil {
		return "", err
	}
	// The files may be edited while the wrapper's command goes on. Hence the digest.
	name := server.Prefix(i.run) + "template_" + digest
	return name, i.underLock(background, func() error { return i.makeTemplate(name) })
}

// digest is a short hash of the files' names and contents.
func digest(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), err
}

// underLock runs f while no other test process runs its own. The lock is a transaction's, so that it
// ends with this process.
func (i *instance) underLock(ctx context.Context, f func() error) error {
	db, err := sql.Open(PQ.Driver, i.url)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err = tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(templateLock)); err == nil {
		err = f()
	}
	return errors.Join(err, tx.Rollback())
}

// makeTemplate migrates a database under another name and renames it when it is complete, so that a
// template that exists is a whole one.
func (i *instance) makeTemplate(name string) error {
	var exists bool
	err := query(i.url, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = "+pq.QuoteLiteral(name)+")", &exists)
	if err != nil || exists {
		return err
	}
	building := pq.QuoteIdentifier(name + "_building")
	if err := i.exec("DROP DATABASE IF EXISTS " + building + " WITH (FORCE)"); err != nil {
		return err
	}
	if err := i.exec("CREATE DATABASE " + building + " TEMPLATE template0"); err != nil {
		return err
	}
	if err := i.migrate(name + "_building"); err != nil {
		return err
	}
	// Without connections it can always be cloned.
	if err := i.exec("ALTER DATABASE " + building + " ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	return i.exec("ALTER DATABASE " + building + " RENAME TO " + pq.QuoteIdentifier(name))
}

func (i *instance) migrate(database string) error {
	u, err := i.database(database)
	if err != nil {
		return err
	}
	db, err := sql.Open(PQ.Driver, u.String())
	if err != nil {
		return err
	}
	defer db.Close()
	return migrations.Up(background, db, Schema)
}
