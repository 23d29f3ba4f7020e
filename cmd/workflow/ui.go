package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/web"
)

// Where the dashboard is served.
const uiAddress = "127.0.0.1:8787"

func (c *cli) ui() *cobra.Command {
	var d dashboard
	command := &cobra.Command{
		Use:   "ui",
		Short: "Serve the dashboard",
		Long: `Serve the dashboard of a schema until Ctrl-C: what runs, waits and fails, since when and why, and what can be done about it.

There is no sign-in: whoever reaches the port sees everything, and may do everything. So it is served to this machine alone; to
others only with --read-only. An application that has a sign-in mounts the package web behind it.`,
		Example: `  workflow ui
  workflow ui --addr :8787 --read-only --hide-payloads
  workflow ui --host ops.example.com        # behind a proxy of that name, which has a sign-in`,
		Args: noWords,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.onService(command.Context(), func(ctx context.Context, service *workflow.Service) error {
				if _, err := service.ListRuns(ctx, workflow.RunFilter{Limit: 1}); err != nil { // better known now than on each page
					return err
				}
				return c.serve(ctx, service, d, func(url string) error {
					fmt.Fprintln(c.out, "The dashboard is at", url, "until Ctrl-C.")
					<-ctx.Done()
					return nil
				})
			})
		},
	}
	command.Flags().StringVar(&d.address, "addr", uiAddress, "the `address` to listen on; port 0 is a free one")
	d.add(command)
	return command
}

// A dashboard is how it is served.
type dashboard struct {
	address                string
	hosts                  []string
	readOnly, hidePayloads bool
}

func (d *dashboard) add(command *cobra.Command) {
	flags := command.Flags()
	flags.BoolVar(&d.readOnly, "read-only", false, "let nobody do anything but look")
	flags.BoolVar(&d.hidePayloads, "hide-payloads", false, "show no input, output, result, signal or request")
	flags.StringArrayVar(&d.hosts, "host", nil, "answer also under this `NAME`, that of a proxy; may be repeated")
}

// handler answers under names that nobody else can give this machine: else a page of somebody's, whose name is made to lead here, could
// do what the user of the browser may.
func (d *dashboard) handler(service *workflow.Service, log *slog.Logger) http.Handler {
	pages := web.New(service, web.Options{
		Allow:    func(*http.Request, web.Action, web.Target) bool { return true },
		ReadOnly: d.readOnly, HidePayloads: d.hidePayloads, Logger: log,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil && !slices.Contains(d.hosts, host) {
			http.Error(w, fmt.Sprintf("This dashboard does not answer under the name %q: add --host %s.", host, host), http.StatusMisdirectedRequest)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// serve serves the dashboard while work, which gets its address, is done.
func (c *cli) serve(ctx context.Context, service *workflow.Service, d dashboard, work func(url string) error) error {
	if host, _, err := net.SplitHostPort(d.address); err != nil {
		return wrongUsage("--addr %q: want host:port, such as %s", d.address, uiAddress)
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !d.readOnly {
		return wrongUsage("--addr %s lets others do what they like, since there is no sign-in: add --read-only, "+
			"or mount the package web in an application that has one", d.address)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", d.address)
	if err != nil {
		return fmt.Errorf("--addr %s: %w", d.address, err)
	}
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
	server := &http.Server{
		Handler: d.handler(service, log), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	worked := work("http://" + listener.Addr().String() + "/")
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(ending); err != nil { // pages that are still being sent
		server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(worked, err)
	}
	return worked
}
