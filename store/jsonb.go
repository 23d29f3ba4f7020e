package store

import (
	"encoding/json"
	"fmt"
)

// jsonb scans a nullable JSONB column: nil is SQL NULL, the text null is JSON null.
type jsonb json.RawMessage

// Scan implements sql.Scanner; it copies what the driver lends.
func (j *jsonb) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*j = nil
	case []byte:
		*j = append(jsonb{}, v...)
	case string:
		*j = jsonb(v)
	default:
		return fmt.Errorf("cannot read JSONB from a %T", value)
	}
	return nil
}
