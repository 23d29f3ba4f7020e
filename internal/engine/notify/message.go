package notify

import (
	"encoding/json"
	"maps"
	"slices"
)

// A Message is what one process tells the others. One that says nothing tells that whoever hears it hears.
type Message struct {
	From   string   `json:"from"`             // the process
	Work   bool     `json:"work,omitempty"`   // something may be claimed
	Queues bool     `json:"queues,omitempty"` // something waits in a queue
	News   bool     `json:"news,omitempty"`   // something may have come for runs, of which is not known
	Runs   []string `json:"runs,omitempty"`   // there is news about these runs: they have ended, or something was sent to them
	Lost   []string `json:"lost,omitempty"`   // these were taken from whoever executes them
	All    bool     `json:"all,omitempty"`    // there is news about more runs than could be named
}

// maxPayload is the longest payload, in bytes. PostgreSQL takes less than 8,000.
const maxPayload = 7900

// parse reads a payload. Anybody may have sent anything: what is no message is none.
func parse(payload string) (m Message, ok bool) {
	if json.Unmarshal([]byte(payload), &m) != nil {
		return Message{}, false
	}
	return m, m.From != ""
}

// A draft is a message that grows until it is sent. The zero value is empty.
type draft struct {
	some       bool // there is something to be sent, be it an empty message
	work, all  bool
	queues     bool
	news       bool
	runs, lost map[string]bool
	bytes      int           // of the runs' names
	sent       []func(error) // are called with how it went
}

func (d *draft) add(m Message) {
	d.some = true
	d.work, d.queues, d.news, d.all = d.work || m.Work, d.queues || m.Queues, d.news || m.News, d.all || m.All
	for _, run := range m.Runs {
		d.name(&d.runs, run)
	}
	for _, run := range m.Lost {
		d.name(&d.lost, run)
	}
}

// name adds a run to one of the lists. When there are too many, all of them are given up for a word.
func (d *draft) name(list *map[string]bool, run string) {
	if d.all || (*list)[run] {
		return
	}
	text, err := json.Marshal(run)
	d.bytes += len(text) + len(",")
	if err != nil || d.bytes > maxPayload-envelope {
		d.all, d.runs, d.lost = true, nil, nil
		return
	}
	if *list == nil {
		*list = make(map[string]bool)
	}
	(*list)[run] = true
}

// envelope is room for what stands around the runs.
const envelope = 100

func (d *draft) payload(from string) (string, error) {
	text, err := json.Marshal(Message{
		From: from, Work: d.work, Queues: d.queues, News: d.news, All: d.all,
		Runs: slices.Sorted(maps.Keys(d.runs)), Lost: slices.Sorted(maps.Keys(d.lost)),
	})
	return string(text), err
}
