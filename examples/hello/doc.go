// Command hello is the README's program: an order and the work on it, begun in one transaction.
//
//	DATABASE_URL=postgres://… go run ./examples/hello
//
// It keeps its rows in a table hello_orders and in the schema workflows.
package main
