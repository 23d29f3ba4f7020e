package kit

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Wires are the connections that a driver makes by a dialer: how often something was sent on them, which with lib/pq is a round trip each
// time, for it waits for the answer before it sends more; and what can happen to them.
type Wires struct {
	target atomic.Pointer[string]
	sent   atomic.Int64
	opened atomic.Int64
	lose   atomic.Bool
	gate   atomic.Pointer[chan struct{}]
	held   atomic.Int64
}

// Dial opens a connection, as lib/pq's Dialer.
func (w *Wires) Dial(network, address string) (net.Conn, error) {
	return w.DialTimeout(network, address, Patience)
}

// DialTimeout is Dial with a bound.
func (w *Wires) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	if target := w.target.Load(); target != nil {
		address = *target
	}
	conn, err := (&net.Dialer{Timeout: timeout}).Dial(network, address)
	if err != nil {
		return nil, err
	}
	w.opened.Add(1)
	return &wire{conn, w}, nil
}

// LeadTo says where connections lead from now on, wherever they are to be made to.
func (w *Wires) LeadTo(address string) { w.target.Store(&address) }

// Sent returns how often something was sent since it was called last.
func (w *Wires) Sent() int64 { return w.sent.Swap(0) }

// Opened returns how many connections were ever made.
func (w *Wires) Opened() int64 { return w.opened.Load() }

// LoseAnswer makes a connection break instead of bringing the next answer.
func (w *Wires) LoseAnswer() { w.lose.Store(true) }

// Freeze keeps back what the server says, until thaw or the end of the test.
func (w *Wires) Freeze(t testing.TB) (thaw func()) {
	gate := make(chan struct{})
	w.gate.Store(&gate)
	thaw = sync.OnceFunc(func() {
		w.gate.Store(nil)
		close(gate)
	})
	t.Cleanup(thaw)
	return thaw
}

// Held returns how many answers are kept back.
func (w *Wires) Held() int64 { return w.held.Load() }

type wire struct {
	net.Conn
	of *Wires
}

func (w *wire) NetConn() net.Conn { return w.Conn }

func (w *wire) Write(b []byte) (int, error) {
	w.of.sent.Add(1)
	return w.Conn.Write(b)
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.of.lose.CompareAndSwap(true, false) {
		_ = w.Close()
		return 0, io.EOF
	}
	if gate := w.of.gate.Load(); gate != nil {
		w.of.held.Add(1)
		<-*gate
		w.of.held.Add(-1)
	}
	return n, err
}
