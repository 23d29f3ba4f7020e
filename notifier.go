package workflow

import "context"

// A Notifier hears notifications of PostgreSQL on a connection of its own. The packages notify/pqnotify and notify/pgxnotify have one
// for each driver; Config.Notifier takes it:
//
//	notifier, err := pgxnotify.New(dsn)
//	…
//	svc, err := workflow.New(workflow.Config{DB: db, Notifier: notifier})
//
// With one, a run that is started in one process begins in another within milliseconds, and so do a signal, a cancellation, the end
// of a called run and a [Handle.Result] arrive. Notifications are sent through the service's own pool, after what they tell of has
// been committed, at most a hundred a second and process, and nothing waits for them. They are only hints: polling goes on, every two
// seconds at least, and finds what no notification told of. So one that is lost costs time and nothing else.
//
// The connection must be a direct one, to the database of the service. Behind a pooler that shares connections between transactions
// LISTEN succeeds and nothing arrives: the service notices, since it does not hear itself, says so (see Stats.LastError), polls as
// without a notifier, and tries again now and then. The same goes for a connection that has died.
//
// It listens while [Service.Work] runs, and while somebody awaits a run that is executed elsewhere and a minute longer.
// [Service.Close] ends it.
type Notifier interface {
	// Listen listens on a channel until ctx ends or the connection fails, and returns why. It calls ready each time the server has
	// confirmed LISTEN, again after it has connected anew if it does so by itself, and heard with the payload of each notification.
	// The service calls it again, after a pause, when it has returned; never twice at once.
	Listen(ctx context.Context, channel string, ready func(), heard func(payload string)) error
}
