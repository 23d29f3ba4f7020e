// Command hello is the program of the README: a workflow of two steps.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/lib/pq"

	"github.com/sqlworkflow/workflow"
)

var greet = workflow.Define("greet", func(ctx context.Context, name string) (string, error) {
	text, err := workflow.Do(ctx, "compose", func(context.Context) (string, error) {
		return "Hello, " + name + "!", nil
	})
	if err != nil {
		return "", err
	}
	return workflow.Do(ctx, "translate", func(context.Context) (string, error) {
		return text + " ¡Hola!", nil // recorded: after a crash, only what is missing runs
	})
})

func main() {
	ctx, stop := context.WithCancel(context.Background())
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	check(err)
	svc, err := workflow.New(workflow.Config{DB: db})
	check(err)
	check(svc.Init(ctx)) // creates the tables, once

	svc.Register(greet)
	done := make(chan error)
	go func() { done <- svc.Work(ctx) }()

	handle, err := greet.Start(ctx, svc, "Zoë") // durable from here on
	check(err)
	text, err := handle.Result(ctx)
	check(err)
	fmt.Println(text)

	stop()
	check(<-done)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
