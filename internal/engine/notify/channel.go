package notify

import (
	"crypto/sha256"
	"encoding/hex"
)

const (
	channelPrefix = "sqlworkflow_"
	maxChannel    = 63 // bytes of an identifier
	hashed        = 8  // of a schema's hash, in bytes
)

// Channel returns the channel of a schema, an identifier. Notifications stay within a database; schemas within one do not hear
// each other.
func Channel(schema string) string {
	channel := channelPrefix + schema
	if len(channel) <= maxChannel {
		return channel
	}
	hash := sha256.Sum256([]byte(schema))
	tail := "_" + hex.EncodeToString(hash[:hashed])
	return channel[:maxChannel-len(tail)] + tail
}
