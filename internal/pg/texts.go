package pg

import (
	"errors"
	"fmt"
	"strings"
)

// TextArray scans a nullable column of texts: nil is NULL. Drivers give the literal of an array whose type they are not told.
type TextArray []string

// Scan implements sql.Scanner.
func (a *TextArray) Scan(value any) error {
	var literal string
	switch v := value.(type) {
	case nil:
		*a = nil
		return nil
	case []byte:
		literal = string(v)
	case string:
		literal = v
	default:
		return fmt.Errorf("cannot read an array of texts from a %T", value)
	}
	all, err := parseTexts(literal)
	if err != nil {
		return fmt.Errorf("array literal %.80q: %w", literal, err)
	}
	*a = all
	return nil
}

// parseTexts reads the literal of an array of one dimension as the server writes it. NULL, which no array of ours has, is "".
func parseTexts(literal string) ([]string, error) {
	body, opened := strings.CutPrefix(literal, "{")
	body, closed := strings.CutSuffix(body, "}")
	if !opened || !closed {
		return nil, errors.New("it is not in braces")
	}
	all := []string{}
	for body != "" {
		element, rest, err := cutElement(body)
		if err != nil {
			return nil, err
		}
		all = append(all, element)
		var more bool
		if body, more = strings.CutPrefix(rest, ","); !more && rest != "" {
			return nil, errors.New("a comma is missing")
		}
	}
	return all, nil
}

// cutElement takes the first element off the literal's text: one in quotes, where a backslash stands before a quote or another
// backslash, or a plain one.
func cutElement(text string) (element, rest string, err error) {
	if text[0] != '"' {
		end := strings.IndexByte(text, ',')
		if end < 0 {
			end = len(text)
		}
		if text[:end] == "NULL" {
			return "", text[end:], nil
		}
		return text[:end], text[end:], nil
	}
	var plain strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return plain.String(), text[i+1:], nil
		case c == '\\' && i+1 < len(text):
			i++
			plain.WriteByte(text[i])
		default:
			plain.WriteByte(c)
		}
	}
	return "", "", errors.New("a quote is not closed")
}
