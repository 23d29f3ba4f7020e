package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
)

const (
	defaultImage = "postgres:17-alpine"
	postgresPort = "5432/tcp"
)

// probeDocker finds out whether a daemon answers: dockertest's NewPool alone does not fail without one.
func probeDocker() error {
	_, err := dial()
	return err
}

func dial() (*dockertest.Pool, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, err
	}
	if err := pool.Client.Ping(); err != nil {
		return nil, fmt.Errorf("no Docker daemon answers: %w", err)
	}
	return pool, nil
}

// startDocker runs a container. Its name is unique, so that it can be removed however far the start got.
func startDocker(ctx context.Context, o Options) (_ report, _ release, err error) {
	pool, err := dial()
	if err != nil {
		return report{}, nil, err
	}
	image := os.Getenv(EnvImage)
	if image == "" {
		image = defaultImage
	}
	repository, tag := splitImage(image)
	if err := pull(ctx, pool, repository, tag); err != nil {
		return report{}, nil, fmt.Errorf("pull image %s: %w", image, err)
	}

	name := "pgtest-" + strings.ToLower(rand.Text()[:12])
	undo := func(context.Context) error { return pool.RemoveContainerByName(name) }
	defer func() {
		if err != nil {
			err = errors.Join(err, undo(ctx))
		}
	}()
	password := rand.Text()
	host, bind := addresses(pool.Client.Endpoint())
	container, err := pool.RunWithOptions(&dockertest.RunOptions{
		Name:         name,
		Repository:   repository,
		Tag:          tag,
		Cmd:          append([]string{"postgres"}, settings(o)...),
		Env:          []string{"POSTGRES_PASSWORD=" + password, "POSTGRES_INITDB_ARGS=--no-sync -E UTF8 --locale=C"},
		ExposedPorts: []string{postgresPort},
		PortBindings: map[docker.Port][]docker.PortBinding{postgresPort: {{HostIP: bind, HostPort: hostPort(o)}}},
	})
	if err != nil {
		return report{}, nil, fmt.Errorf("run image %s: %w", image, err)
	}
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", password),
		Host:     net.JoinHostPort(host, container.GetPort(postgresPort)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	r := report{URL: u.String(), Source: "docker " + image}
	pool.MaxWait = readyTimeout
	err = pool.Retry(func() error {
		r.Version, err = ask(ctx, r.URL, "SHOW server_version")
		return err
	})
	if err != nil {
		return report{}, nil, fmt.Errorf("wait for the server in image %s: %w", image, err)
	}
	return r, undo, nil
}

// pull fetches an image that is not there yet. dockertest would do so too, but then nothing could stop it.
func pull(ctx context.Context, pool *dockertest.Pool, repository, tag string) error {
	if _, err := pool.Client.InspectImage(repository + ":" + tag); err == nil {
		return nil
	}
	return pool.Client.PullImage(docker.PullImageOptions{Context: ctx, Repository: repository, Tag: tag}, docker.AuthConfiguration{})
}

// splitImage separates the tag; a colon before a slash belongs to a registry's port.
func splitImage(image string) (repository, tag string) {
	i := strings.LastIndexByte(image, ':')
	if i < 0 || strings.Contains(image[i:], "/") {
		return image, "latest"
	}
	return image[:i], image[i+1:]
}

// hostPort is where a container's port is published; "" leaves it to the daemon.
func hostPort(o Options) string {
	if o.Port == 0 {
		return ""
	}
	return strconv.Itoa(o.Port)
}

// addresses says where a container's port is reached and which address it must be published on: only a
// daemon on another machine needs to show it to the network.
func addresses(endpoint string) (host, bind string) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.Scheme == "unix" || u.Scheme == "npipe" {
		return "127.0.0.1", "127.0.0.1"
	}
	return u.Hostname(), "0.0.0.0"
}
