// Package notify tells other processes that there is something to look at, and hears what they tell, by NOTIFY and LISTEN of
// PostgreSQL. All of it is hints: one that is lost, doubled or forged changes only when somebody looks, never what is found.
//
//	message.go   what one process tells the others, as a payload
//	channel.go   where
//	sender.go    tells: a few times a second at most, and off everybody's way
//	listener.go  hears, while somebody needs it, and knows whether it does
//	session.go   one connection of a listener, from its LISTEN to its end
package notify
