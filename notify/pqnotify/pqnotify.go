// Package pqnotify is a notifier on lib/pq, for Config.Notifier of package workflow.
package pqnotify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/lib/pq"
)

// Notifier hears notifications on a connection of its own, which it has while it listens.
type Notifier struct{ dsn string }

// errDSN says nothing of the DSN, nor what the driver says of it: either may quote the password.
var errDSN = errors.New("pqnotify: the DSN cannot be read: is it a URL, or key=value? " +
	"In user and password of a URL, special characters are written as %XX")

// New returns a notifier for a connection string, in any form that lib/pq reads. It must lead to the server directly, not through
// a pooler, and to the database of the service; the role needs no right but to connect. New does not connect.
func New(dsn string) (*Notifier, error) {
	if _, err := pq.NewConnector(dsn); err != nil {
		return nil, errDSN
	}
	return &Notifier{dsn: dsn}, nil
}

// Listen listens on a channel until ctx ends or the connection fails, and returns why. ready is called when LISTEN is in force, heard
// for each notification.
func (n *Notifier) Listen(ctx context.Context, channel string, ready func(), heard func(payload string)) error {
	d := newDialer(ctx)
	defer d.stop()
	failed := make(chan error, 1)
	listener := pq.NewDialListener(d, n.dsn, pause, pause, func(event pq.ListenerEventType, err error) {
		if event != pq.ListenerEventDisconnected && event != pq.ListenerEventConnectionAttemptFailed {
			return
		}
		d.hangUp() // one connection: whoever listens tries again
		select {
		case failed <- err:
		default:
		}
	})
	listening := make(chan error, 1)
	go func() {
		listening <- listener.Listen(channel)
		close(listening)
	}()

	err := serve(ctx, listener.Notify, listening, failed, ready, heard)
	d.hangUp() // on a dead network nothing else would end it
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = listener.Close()
	}()
	for range listener.Notify { // until its goroutine has ended, which may be about to say more
	}
	<-closed
	for range listening { // and this one
	}
	return err
}

// pause is how long lib/pq's listener waits before it would connect anew, and so before it notices that it is closed.
const pause = 10 * time.Millisecond

func serve(ctx context.Context, notify <-chan *pq.Notification, listening, failed <-chan error, ready func(), heard func(string)) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-failed:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("pqnotify: %w", err)
		case err := <-listening:
			if err != nil {
				return fmt.Errorf("pqnotify: listen: %w", err)
			}
			ready()
			listening = nil
		case n := <-notify:
			if n != nil {
				heard(n.Extra)
			}
		}
	}
}

// A dialer connects until it is closed or its context ends, and its connections end then too: lib/pq looks at no context.
type dialer struct {
	ctx  context.Context
	stop func() bool

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

func newDialer(ctx context.Context) *dialer {
	d := &dialer{ctx: ctx}
	d.stop = context.AfterFunc(ctx, d.hangUp)
	return d
}

// Dial and DialTimeout are of pq.Dialer, which knows no context.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(d.ctx, network, address)
}

func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, timeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	d.conns = append(d.conns, conn)
	return conn, nil
}

func (d *dialer) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, conn := range d.conns {
		_ = conn.Close()
	}
}
