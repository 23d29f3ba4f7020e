package lock

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Key names an advisory lock. PostgreSQL keeps these keys per database, apart from the locks on rows and tables.
type Key int64

// NewKey derives the key of one thing: the id, of some kind, in a schema, in the namespace of an application.
//
// The key is the first 8 bytes (big endian) of the SHA-256 of the four parts, each preceded by its
// length in bytes as 8 bytes (big endian), so that no two lists of parts read the same. The algorithm
// is fixed: processes of different releases must agree on it.
//
// Among n things locked at the same time, the odds that some two share a key are n²/2⁶⁵: 3 in 10¹⁴ for a thousand,
// 3 in 10⁸ for a million; even odds take 5 billion. A collision, including one with a key that an application chose
// itself, means waiting for a lock that is not needed, never the lack of one that is.
func NewKey(namespace, schema, kind, id string) Key {
	var text []byte
	for _, part := range [...]string{namespace, schema, kind, id} {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return Key(binary.BigEndian.Uint64(sum[:8]))
}

// String returns the key in hexadecimal: its upper half is classid and its lower half is objid in pg_locks.
func (k Key) String() string {
	return fmt.Sprintf("%016x", uint64(k))
}
