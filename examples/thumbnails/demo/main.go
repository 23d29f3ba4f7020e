// Command demo shows what a queue promises: three worker processes make thumbnails of three albums under one limit, one of them is
// killed with SIGKILL on the way, and a sampler counts beside it what is running. In the end it asks the database whether the limit
// held, whether the albums took turns, and what became of the pictures that the dead worker was at.
//
//	make demo-queue
//	DATABASE_URL=postgres://… go run ./examples/thumbnails/demo -out /tmp/thumbnails
//
// It begins by dropping the schema example_thumbnails, so that it can be run again.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const (
	program = "github.com/sqlworkflow/workflow/examples/thumbnails"
	photos  = "examples/thumbnails/photos"
)

// tooLong is when something must be wrong.
const tooLong = 110 * time.Second

type options struct {
	out      string
	pictures int
	width    int
	slow     time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.out, "out", "", "the folder to write thumbnails and contact sheets to (a new one)")
	flag.IntVar(&o.pictures, "pictures", 25, "how many pictures to paint into the smallest album; the others get twice and six times as many")
	flag.IntVar(&o.width, "width", 800, "how wide these are, in pixels")
	flag.DurationVar(&o.slow, "slow", 150*time.Millisecond, "how long a picture takes at least, as large ones do")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, tooLong, fmt.Errorf("not done after %s", tooLong))
	err := run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	db, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `DROP SCHEMA IF EXISTS example_thumbnails CASCADE`); err != nil {
		return fmt.Errorf("drop the schema of an earlier demo: %w (is DATABASE_URL right?)", err)
	}
	if o.out == "" {
		if o.out, err = os.MkdirTemp("", "thumbnails-"); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "thumbnails-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "thumbnails")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, program).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	folder := filepath.Join(dir, "photos")
	pictures, err := prepare(ctx, binary, folder, o)
	if err != nil {
		return err
	}
	fmt.Printf("%d pictures in %d albums, three worker processes, one limit. One of them will be killed on the way.\n", pictures, len(load))

	seen, killed, err := work(ctx, db, binary, folder, o)
	if err != nil {
		return err
	}
	if err := verify(ctx, db, pictures, seen, killed); err != nil {
		return err
	}
	fmt.Printf("\nThe limit held, the kill lost nothing, and no album waited for another to be done. Look at %s.\n",
		filepath.Join(o.out, "*.jpg"))
	return nil
}

// load is how many times -pictures are painted into an album.
var load = map[string]int{"alps": 6, "coast": 2, "desert": 1}

// prepare puts the photos and many painted pictures into a folder, and returns how many there are.
func prepare(ctx context.Context, binary, folder string, o options) (pictures int, err error) {
	if err := os.CopyFS(folder, os.DirFS(photos)); err != nil {
		return 0, fmt.Errorf("%w (start the demo in the root of the repository)", err)
	}
	for album, times := range load {
		out, err := exec.CommandContext(ctx, binary, "paint", "-n", strconv.Itoa(times*o.pictures), "-width", strconv.Itoa(o.width),
			filepath.Join(folder, album)).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("paint: %w\n%s", err, out)
		}
		files, err := os.ReadDir(filepath.Join(folder, album))
		if err != nil {
			return 0, err
		}
		pictures += len(files)
	}
	return pictures, nil
}

// work has everything made, with a kill in the middle.
func work(ctx context.Context, db *sql.DB, binary, folder string, o options) (seen sample, killed killed, err error) {
	fleet := newFleet(ctx, binary, o.slow)
	defer fleet.stop()
	for range 3 {
		if err := fleet.start(); err != nil {
			return seen, killed, err
		}
	}
	fmt.Printf("\n$ thumbnails work &    # three times\n$ thumbnails make -out %s %s\n", o.out, folder)
	front := exec.CommandContext(fleet.ctx, binary, "make", "-out", o.out, folder)
	front.Stdout, front.Stderr = os.Stdout, os.Stderr
	front.Cancel = func() error { return front.Process.Signal(os.Interrupt) }
	front.WaitDelay = 10 * time.Second
	if err := front.Start(); err != nil {
		return seen, killed, err
	}
	ended := make(chan error, 1)
	go func() { ended <- front.Wait() }()

	watching := watch(fleet.ctx, db)
	killed, err = fleet.killOne(db)
	if err != nil { // the front may know better
		fleet.fail(err)
		return seen, killed, errors.Join(context.Cause(fleet.ctx), <-ended)
	}
	err = <-ended
	seen = watching.stop()
	if err != nil {
		return seen, killed, errors.Join(fmt.Errorf("thumbnails make: %w", err), context.Cause(fleet.ctx))
	}
	return seen, killed, seen.err
}

func open(url string) (*sql.DB, error) {
	if url == "" {
		return nil, errors.New("DATABASE_URL is not set; `make demo-queue` finds or starts a PostgreSQL and sets it")
	}
	connector, err := pq.NewConnector(url)
	if err != nil { // which may quote the password
		return nil, errors.New("DATABASE_URL cannot be read; it looks like postgres://user:password@host:5432/database")
	}
	return sql.OpenDB(connector), nil
}
