package workflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// What JSONB can hold. Its numbers are PostgreSQL's numeric, which bounds the digits on both sides of the point. Its nesting is
// bounded by the server's stack, well above the bound here.
const (
	maxNesting        = 1000
	maxIntegerDigits  = 131072
	maxFractionDigits = 16383
)

var (
	errNotJSON = errors.New("not valid JSON")
	errNotUTF8 = errors.New("JSON is not valid UTF-8")
	errNUL     = errors.New(`a string has the character \u0000, which PostgreSQL cannot store`)
	errHalf    = errors.New(`a string has half of a surrogate pair, which PostgreSQL cannot store`)
	errRange   = errors.New("a number is out of PostgreSQL's range")
	errNested  = fmt.Errorf("JSON is nested more than %d deep", maxNesting)
)

// checkJSONB refuses what is not valid JSON, and of valid JSON what JSONB refuses: characters that PostgreSQL's text cannot
// store, and numbers out of range. It may refuse too much (zero with a huge exponent), never too little. It walks the text
// once, since payloads may be large, but for strings that are not ASCII; and returns the places of minus signs before a zero.
func checkJSONB(text []byte) (minuses []int, err error) {
	c := jsonbCheck{text: text}
	err = c.value(0)
	if err == nil && c.next() != end {
		err = errNotJSON
	}
	if errors.Is(err, errNotJSON) && !utf8.Valid(text) { // which says more
		err = errNotUTF8
	}
	return c.minuses, err
}

// A jsonbCheck is a walk through a text.
type jsonbCheck struct {
	text    []byte
	at      int   // the next byte
	minuses []int // before a zero
}

// end is what next and peek return after the last byte; it is none that JSON has outside of strings.
const end = 0

// peek returns the next byte.
func (c *jsonbCheck) peek() byte {
	if c.at == len(c.text) {
		return end
	}
	return c.text[c.at]
}

// next passes over white space and returns the byte after it, which it leaves.
func (c *jsonbCheck) next() byte {
	for ; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\r', '\n':
		case end:
			return 1 // not the end, and as invalid
		default:
			return b
		}
	}
	return end
}

// value passes over a value inside of depth others.
func (c *jsonbCheck) value(depth int) error {
	switch b := c.next(); b {
	case '"':
		return c.string()
	case '{':
		return c.list(depth+1, '}', c.member)
	case '[':
		return c.list(depth+1, ']', c.value)
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	default:
		if b == '-' || isDigit(b) {
			return c.number()
		}
		return errNotJSON
	}
}

// list passes over an object or an array, given what its elements are.
func (c *jsonbCheck) list(depth int, closing byte, element func(depth int) error) error {
	if depth > maxNesting {
		return errNested
	}
	c.at++
	if c.next() == closing {
		c.at++
		return nil
	}
	for {
		if err := element(depth); err != nil {
			return err
		}
		b := c.next()
		c.at++
		switch {
		case b == closing:
			return nil
		case b != ',':
			c.at--
			return errNotJSON
		}
	}
}

// member passes over a key and its value.
func (c *jsonbCheck) member(depth int) error {
	if c.next() != '"' {
		return errNotJSON
	}
	if err := c.string(); err != nil {
		return err
	}
	if c.next() != ':' {
		return errNotJSON
	}
	c.at++
	return c.value(depth)
}

func (c *jsonbCheck) word(word string) error {
	if to := c.at + len(word); to > len(c.text) || string(c.text[c.at:to]) != word {
		return errNotJSON
	}
	c.at += len(word)
	return nil
}

// string passes over a string.
func (c *jsonbCheck) string() error {
	c.at++
	for begin, ascii := c.at, true; ; {
		n, plain := plainPart(c.text[c.at:])
		c.at += n
		ascii = ascii && plain
		switch c.peek() {
		case '"':
			if !ascii && !utf8.Valid(c.text[begin:c.at]) {
				return errNotUTF8
			}
			c.at++
			return nil
		case '\\':
			if err := c.escape(); err != nil {
				return err
			}
		default: // a control character, or the end
			return errNotJSON
		}
	}
}

// plainPart returns how many bytes a string begins with that are themselves in JSON, and whether they are ASCII. It looks at eight
// at a time: most of a large payload is such text.
func plainPart(text []byte) (n int, ascii bool) {
	var all uint64
	for ; n+8 <= len(text); n += 8 {
		eight := binary.LittleEndian.Uint64(text[n:])
		if special(eight) {
			break
		}
		all |= eight
	}
	for ; n < len(text) && text[n] >= ' ' && text[n] != '"' && text[n] != '\\'; n++ {
		all |= uint64(text[n])
	}
	return n, all&high == 0
}

const ones, high = 0x0101010101010101, 0x8080808080808080

// special reports whether one of eight bytes is a quote, a backslash or a control character.
func special(eight uint64) bool {
	quote, backslash := eight^'"'*ones, eight^'\\'*ones
	return ((eight-' '*ones)|(quote-ones)|(backslash-ones))&^eight&high != 0
}

// escape passes over a backslash and what it stands for.
func (c *jsonbCheck) escape() error {
	c.at++
	switch c.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.at++
		return nil
	case 'u':
	default:
		return errNotJSON
	}
	r, ok := c.hex4()
	switch {
	case !ok:
		return errNotJSON
	case r == 0:
		return errNUL
	case 0xDC00 <= r && r <= 0xDFFF:
		return errHalf
	case 0xD800 <= r && r <= 0xDBFF:
		if c.peek() != '\\' {
			return errHalf
		}
		c.at++
		if low, ok := c.hex4(); !ok || low < 0xDC00 || low > 0xDFFF {
			return errHalf
		}
	}
	return nil
}

// hex4 passes over a u and four hexadecimal digits.
func (c *jsonbCheck) hex4() (r uint32, ok bool) {
	if c.peek() != 'u' || c.at+5 > len(c.text) {
		return 0, false
	}
	digits := c.text[c.at+1 : c.at+5]
	for _, b := range digits {
		if lower := b | 0x20; !isDigit(b) && (lower < 'a' || 'f' < lower) {
			return 0, false
		}
	}
	c.at += 5
	return hex4(digits), true
}

// hex4 returns the number that begins with four hexadecimal digits.
func hex4(digits []byte) (r uint32) {
	for _, b := range digits[:4] {
		if isDigit(b) {
			r = r<<4 | uint32(b-'0')
		} else {
			r = r<<4 | uint32(b|0x20-'a'+10)
		}
	}
	return r
}

// number passes over a number.
func (c *jsonbCheck) number() error {
	begin := c.at
	if c.peek() == '-' {
		c.at++
	}
	leading := c.peek()
	integer, fraction, exponent := c.digits(), 0, 0
	if integer == 0 || leading == '0' && integer > 1 {
		return errNotJSON
	}
	if c.peek() == '.' {
		c.at++
		if fraction = c.digits(); fraction == 0 {
			return errNotJSON
		}
	}
	if c.text[begin] == '-' && leading == '0' && isZero(c.text[begin+1:c.at]) {
		c.minuses = append(c.minuses, begin)
	}
	if lower := c.peek() | 0x20; lower == 'e' {
		var err error
		if exponent, err = c.exponent(); err != nil {
			return err
		}
	}
	if integer+exponent > maxIntegerDigits || fraction-exponent > maxFractionDigits {
		return errRange
	}
	return nil
}

// isZero reports whether digits, perhaps with a point among them, are those of a zero.
func isZero(digits []byte) bool {
	for _, b := range digits {
		if b != '0' && b != '.' {
			return false
		}
	}
	return true
}

// exponent passes over an exponent. One that is longer than any in range is not calculated.
func (c *jsonbCheck) exponent() (int, error) {
	c.at++
	begin := c.at
	if sign := c.peek(); sign == '+' || sign == '-' {
		c.at++
	}
	if c.digits() == 0 {
		return 0, errNotJSON
	}
	exponent, err := strconv.Atoi(string(c.text[begin:c.at]))
	if err != nil || exponent > 1e6 || exponent < -1e6 {
		return 0, errRange
	}
	return exponent, nil
}

// digits passes over digits and returns how many there were.
func (c *jsonbCheck) digits() int {
	begin := c.at
	for isDigit(c.peek()) {
		c.at++
	}
	return c.at - begin
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
