package notify

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A post office keeps what was sent, and when.
type post struct {
	took time.Duration // that sending takes
	err  error
	sent []Message
	at   []time.Time
}

func (p *post) send(ctx context.Context, payload string) error {
	p.at = append(p.at, time.Now())
	wait(ctx, p.took)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m, ok := parse(payload)
	if !ok {
		return fmt.Errorf("not a message: %s", payload)
	}
	p.sent = append(p.sent, m)
	return p.err
}

// pass lets d pass, and whatever happens then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func noTrouble(t *testing.T) func(error) { return func(err error) { t.Errorf("trouble: %v", err) } }

// The first hint goes at once. Those that follow go together, at most one notification in ten milliseconds; when all is said, no
// goroutine is left, which synctest sees to.
func TestHintsGoTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &post{took: time.Millisecond}
		s := NewSender(p.send, noTrouble(t))
		begun := time.Now()
		for i := range 1000 { // in 100 ms
			s.Tell(Message{Work: true})
			s.Tell(Message{Runs: []string{fmt.Sprint("run", i%3)}})
			pass(100 * time.Microsecond)
		}
		pass(time.Second)
		if p.at[0].Sub(begun) > gather {
			t.Errorf("the first hint waited %s", p.at[0].Sub(begun))
		}
		if n := len(p.sent); n < 10 || n > 12 {
			t.Errorf("1,000 hints within 100 ms made %d notifications", n)
		}
		for i := 1; i < len(p.at); i++ {
			if between := p.at[i].Sub(p.at[i-1]); between < interval {
				t.Errorf("notification %d came %s after the one before", i, between)
			}
		}
		if diff := cmp.Diff([]string{"run0", "run1", "run2"}, p.sent[5].Runs); diff != "" || !p.sent[5].Work {
			t.Errorf("what was told (-want +got):\n%s", diff)
		}
	})
}

// A sender holds up nobody, whatever the database does; what it cannot send it drops, and says so once.
func TestHintsAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &post{took: time.Hour}
		troubles := 0
		s := NewSender(p.send, func(error) { troubles++ })
		begun := time.Now()
		for range 100 {
			s.Tell(Message{Work: true})
			s.Tell(Message{Lost: []string{"run"}})
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("telling took %s", took)
		}
		pass(sendBound + time.Millisecond)
		for range 5 {
			s.Tell(Message{Work: true})
			pass(sendBound)
		}
		if troubles != 1 {
			t.Errorf("failures in a row were told of %d times", troubles)
		}
		p.took = 0
		pass(sendBound)
		s.Tell(Message{Work: true})
		pass(time.Second)
		p.err = errors.New("refused")
		s.Tell(Message{Work: true})
		pass(time.Second)
		if troubles != 2 {
			t.Errorf("a failure after a success was told of %d times", troubles-1)
		}
	})
}

// Close sends what waits without its turn; after it, and without a way to send, nothing is sent.
func TestSenderCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := new(post)
		s := NewSender(p.send, noTrouble(t))
		s.Tell(Message{Runs: []string{"first"}})
		pass(gather)
		begun := time.Now()
		s.Tell(Message{Runs: []string{"last"}})
		s.Close()
		if took := time.Since(begun); took > 0 {
			t.Errorf("Close took %s", took)
		}
		s.Tell(Message{Work: true})
		s.ping(func(error) { t.Error("a closed sender has sent") })
		s.Close()
		pass(time.Second)
		if len(p.sent) != 2 || p.sent[1].Runs[0] != "last" {
			t.Errorf("sent %v", p.sent)
		}
		none := NewSender(nil, noTrouble(t))
		none.Tell(Message{Work: true})
		none.Tell(Message{Runs: []string{"run"}})
		none.Close()
	})
}
