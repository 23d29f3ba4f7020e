package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlworkflow/workflow"
)

// another is a second process: a service of its own on the same database.
func another(db *sql.DB, serve []string, definitions ...workflow.Definition) (closeAll func()) {
	svc, err := workflow.New(workflow.Config{DB: db, Serve: serve})
	must(err)
	svc.Register(definitions...)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- svc.Work(ctx) }()
	return func() {
		stop()
		must(<-done)
		must(svc.Close())
	}
}

// However many processes there are, two runs of this queue run at once.
func ExampleQueue() {
	var running, most atomic.Int32
	resize := workflow.Define("resize", func(ctx context.Context, image string) (string, error) {
		return workflow.Do(ctx, "resize", func(context.Context) (string, error) {
			now := running.Add(1)
			defer running.Add(-1)
			for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
			}
			return image + " at 640x480", nil
		})
	})
	svc, db, closeAll := working(resize)
	defer closeAll()
	defer another(db, nil, resize)()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "images", MaxRunning: 2}))

	var handles []*workflow.Handle[string]
	for _, image := range []string{"ant.png", "bee.png", "cat.png", "dog.png", "elk.png", "fox.png"} {
		handle, err := resize.Start(ctx, svc, image, workflow.WithQueue("images"))
		must(err)
		handles = append(handles, handle)
	}
	for _, handle := range handles {
		_, err := handle.Result(ctx)
		must(err)
	}
	fmt.Println("never more than two:", most.Load() <= 2)
	// Output: never more than two: true
}

// A process of its own for the heavy work: here the two share a database, and each says what it serves.
func ExampleConfig_serve() {
	by := func(process string) workflow.Definition {
		return workflow.Define("report", func(context.Context, int) (string, error) { return "made by the " + process, nil })
	}
	svc, db, closeAll := workingWith(workflow.Config{Serve: []string{workflow.NoQueue}}, by("web server"))
	defer closeAll()
	defer another(db, []string{"heavy"}, by("big machine"))()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "heavy", MaxRunning: 4}))

	report := workflow.Define[int, string]("report", nil) // for those who only start it
	for _, options := range [][]workflow.StartOption{nil, {workflow.WithQueue("heavy")}} {
		handle, err := report.Start(ctx, svc, 2026, options...)
		must(err)
		text, err := handle.Result(ctx)
		must(err)
		fmt.Println(text)
	}
	// Output:
	// made by the web server
	// made by the big machine
}

// A program ensures its queues when it starts; what an operator has set since stays as it is. SetQueue changes a queue.
func ExampleState_EnsureQueue() {
	svc, _, closeAll := newService()
	defer closeAll()
	images := workflow.Queue{Name: "images", MaxRunning: 20, MaxPerWorker: 5}
	must(svc.EnsureQueue(ctx, images))

	images.MaxRunning = 2 // tonight the database needs rest
	must(svc.SetQueue(ctx, images))

	images.MaxRunning = 20
	must(svc.EnsureQueue(ctx, images)) // the program is started again
	queue, err := svc.GetQueue(ctx, "images")
	must(err)
	fmt.Println(queue.MaxRunning)
	// Output: 2
}

// A new customer and the queue for the work on it: both, or neither.
func ExampleState_SetQueue() {
	svc, db, closeAll := newService()
	defer closeAll()
	_, err := db.Exec("CREATE TABLE customers (name TEXT)")
	must(err)

	tx, err := db.BeginTx(ctx, nil)
	must(err)
	_, err = tx.Exec("INSERT INTO customers VALUES ('acme')")
	must(err)
	must(svc.In(tx).SetQueue(ctx, workflow.Queue{Name: "acme", MaxRunning: 3, Rate: workflow.PerMinute(100)}))
	must(tx.Rollback())

	_, err = svc.GetQueue(ctx, "acme")
	fmt.Println(errors.Is(err, workflow.ErrQueueNotFound))
	// Output: true
}

// Runs of a paused queue wait.
func ExampleState_PauseQueue() {
	mail := workflow.Define("mail", func(_ context.Context, to string) (string, error) { return "mailed " + to, nil })
	svc, _, closeAll := working(mail)
	defer closeAll()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "mails"}))

	must(svc.PauseQueue(ctx, "mails"))
	handle, err := mail.Start(ctx, svc, "zoe@example.com", workflow.WithQueue("mails"))
	must(err)
	queues, err := svc.ListQueues(ctx)
	must(err)
	for _, queue := range queues {
		fmt.Println(queue.Name, "paused:", !queue.PausedAt.IsZero(), "waiting:", queue.Waiting, "running:", queue.Running)
	}

	must(svc.ResumeQueue(ctx, "mails"))
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output:
	// mails paused: true waiting: 1 running: 0
	// mailed zoe@example.com
}

// What is due goes by priority, whichever came first.
func ExampleWithPriority() {
	said, say := inOrder()
	svc, _, closeAll := working(say)
	defer closeAll()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "calls", MaxRunning: 1}))
	must(svc.PauseQueue(ctx, "calls")) // until all are there

	var handles []*workflow.Handle[int]
	for text, priority := range map[string]workflow.Priority{
		"newsletter": workflow.PriorityLowest, "password": workflow.PriorityHighest, "receipt": workflow.PriorityNormal,
	} {
		handle, err := say.Start(ctx, svc, text, workflow.WithQueue("calls"), workflow.WithPriority(priority))
		must(err)
		handles = append(handles, handle)
	}
	must(svc.ResumeQueue(ctx, "calls"))
	for _, handle := range handles {
		_, err := handle.Result(ctx)
		must(err)
	}
	fmt.Println(said())
	// Output: [password receipt newsletter]
}

// The one run of a small customer does not wait for the many of a big one: they take turns.
func ExampleWithPartition() {
	said, say := inOrder()
	svc, _, closeAll := working(say)
	defer closeAll()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "calls", MaxRunning: 1}))
	must(svc.PauseQueue(ctx, "calls")) // until all are there

	var handles []*workflow.Handle[int]
	for _, customer := range []string{"big", "big", "big", "big", "small"} {
		handle, err := say.Start(ctx, svc, customer, workflow.WithQueue("calls"), workflow.WithPartition(customer))
		must(err)
		handles = append(handles, handle)
	}
	must(svc.ResumeQueue(ctx, "calls"))
	for _, handle := range handles {
		_, err := handle.Result(ctx)
		must(err)
	}
	fmt.Println(said())
	// Output: [big small big big big]
}

// inOrder is a workflow whose runs are noted in the order in which they begin.
func inOrder() (said func() []string, say *workflow.Workflow[string, int]) {
	var mu sync.Mutex
	var all []string
	say = workflow.Define("say", func(ctx context.Context, text string) (int, error) {
		return workflow.Do(ctx, "say", func(context.Context) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, text)
			return len(all), nil
		})
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}, say
}

// Runs begin at a rate. None is lost: those above it wait.
func ExamplePerSecond() {
	said, say := inOrder()
	svc, _, closeAll := working(say)
	defer closeAll()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "calls", Rate: workflow.PerSecond(50)}))

	begun := time.Now()
	var handles []*workflow.Handle[int]
	for _, text := range []string{"one", "two", "three"} {
		handle, err := say.Start(ctx, svc, text, workflow.WithQueue("calls"))
		must(err)
		handles = append(handles, handle)
	}
	for _, handle := range handles {
		_, err := handle.Result(ctx)
		must(err)
	}
	fmt.Println(len(said()), "in no less than a twenty-fifth of a second:", time.Since(begun) >= 40*time.Millisecond)
	// Output: 3 in no less than a twenty-fifth of a second: true
}

// Called runs go through a queue as well: here one for each image, of which two run at once.
func ExampleWithQueue() {
	resize := workflow.Define("resize", func(_ context.Context, image string) (string, error) { return "small " + image, nil })
	album := workflow.Define("album", func(ctx context.Context, images []string) (string, error) {
		results, err := workflow.CallAll(ctx, "resize", resize, images, workflow.WithQueue("images"), workflow.WithPartition("album 17"))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d images, the last one is %s", len(results), results[len(results)-1].Value), nil
	})
	svc, _, closeAll := working(album, resize)
	defer closeAll()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "images", MaxRunning: 2}))

	handle, err := album.Start(ctx, svc, []string{"ant.png", "bee.png", "cat.png"})
	must(err)
	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	// Output: 3 images, the last one is small cat.png
}

// While a page is being fetched, nobody fetches it a second time.
func ExampleWithUnique() {
	release := workflow.DefineSignal[string]("release")
	fetch := workflow.Define("fetch", func(ctx context.Context, url string) (string, error) { return release.Wait(ctx, 0) })
	svc, _, closeAll := working(fetch)
	defer closeAll()
	const url = "https://example.com"

	first, err := fetch.Start(ctx, svc, url, workflow.WithUnique(url))
	must(err)
	again, err := fetch.Start(ctx, svc, url, workflow.WithUnique(url))
	must(err)
	fmt.Println("the same run:", first.RunID() == again.RunID())
	_, err = fetch.Start(ctx, svc, "https://example.org", workflow.WithUnique(url))
	fmt.Println("with another input:", errors.Is(err, workflow.ErrRunConflict))

	must(release.Send(ctx, svc, first.RunID(), "the page"))
	_, err = first.Result(ctx)
	must(err)
	later, err := fetch.Start(ctx, svc, url, workflow.WithUnique(url))
	must(err)
	fmt.Println("the same run, once that is finished:", later.RunID() == first.RunID())
	// Output:
	// the same run: true
	// with another input: true
	// the same run, once that is finished: false
}
