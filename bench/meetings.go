package main

import (
	"sync"
	"time"
)

// meetings tell those who wait when what has their number happens.
type meetings struct {
	mu     sync.Mutex
	newest int
	open   map[int]chan time.Time
}

func newMeetings() *meetings { return &meetings{open: make(map[int]chan time.Time)} }

// next returns a new number, and where it is told once.
func (m *meetings) next() (number int, told <-chan time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest++
	c := make(chan time.Time, 1)
	m.open[m.newest] = c
	return m.newest, c
}

// tell says that it has happened now; when it happens again nobody is told.
func (m *meetings) tell(number int) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.open[number]; c != nil {
		c <- now
		delete(m.open, number)
	}
}
