package pg

import (
	"encoding/json"
	"fmt"
	"unsafe"
)

// JSONB scans a nullable JSONB column: nil is SQL NULL, the text null is JSON null.
type JSONB json.RawMessage

// Scan implements sql.Scanner; it copies what the driver lends.
func (j *JSONB) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*j = nil
	case []byte:
		*j = append(JSONB{}, v...)
	case string:
		*j = JSONB(v)
	default:
		return fmt.Errorf("cannot read JSONB from a %T", value)
	}
	return nil
}

// JSON returns a payload as a statement's argument: NULL for nil. Drivers take JSON as a string; []byte they would send as
// bytea. The string is the payload's own memory, since payloads may be large; nobody changes one that was encoded.
func JSON(payload json.RawMessage) any {
	if payload == nil {
		return nil
	}
	return unsafe.String(unsafe.SliceData(payload), len(payload))
}
