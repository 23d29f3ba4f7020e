package workflow

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// discreet returns a pool whose errors do not show the password in secret, which is the DSN as the application gave it.
// Most drivers parse a DSN each time they connect, so that is where its errors come from.
func discreet(d driver.Driver, dsn, secret string) (*sql.DB, error) {
	c := &connector{driver: d, secret: secret, connect: func(context.Context) (driver.Conn, error) { return d.Open(dsn) }}
	if d, ok := d.(driver.DriverContext); ok {
		inner, err := d.OpenConnector(dsn)
		if err != nil {
			return nil, err
		}
		c.connect = inner.Connect
		c.closer, _ = inner.(io.Closer)
	}
	return sql.OpenDB(c), nil
}

// A connector is a driver.Connector.
type connector struct {
	driver  driver.Driver
	secret  string
	connect func(context.Context) (driver.Conn, error)
	closer  io.Closer // or nil
}

func (c *connector) Driver() driver.Driver { return c.driver }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.connect(ctx)
	var unreadable *url.Error
	if errors.As(err, &unreadable) {
		return nil, fmt.Errorf("%w (in user and password, write special characters as %%XX)", redact(c.secret, err))
	}
	return conn, redact(c.secret, err)
}

func (c *connector) Close() error {
	if c.closer == nil {
		return nil
	}
	return c.closer.Close()
}

const redacted = "xxxxx"

// redact removes the password of a DSN from an error of the driver and keeps the rest of the message, in which the same word
// may well mean something else: if user and password are both "postgres", the user's name stays.
//
// The password is removed where it stands as in the DSN (user:password@, password=…) and where the error quotes a piece of
// the DSN that belongs to a password and to nothing else. What the server says about users and databases stays.
func redact(dsn string, err error) error {
	if err == nil {
		return nil
	}
	passwords := findPasswords(dsn)
	text := err.Error()
	for _, p := range passwords {
		text = p.replaceIn(text, dsn)
	}
	hide := func(piece string) string {
		if isOfPassword(unquote(piece), dsn, passwords) {
			return redacted
		}
		return piece
	}
	text = address.ReplaceAllStringFunc(text, hide)
	var server interface{ SQLState() string }
	if !errors.As(err, &server) { // the driver's own, which quotes what it cannot read
		for _, quoted := range quotes {
			text = quoted.ReplaceAllStringFunc(text, hide)
		}
	}
	if text == err.Error() {
		return err
	}
	return &redactedError{text, err}
}

// A redactedError is still found by errors.Is and errors.As, but cannot be unwrapped and printed.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }
func (e *redactedError) As(target any) bool   { return errors.As(e.err, target) }

// A password is a part of a DSN, dsn[from:to], with what stands around it, dsn[before:after]: :password@ or password=….
type password struct{ before, from, to, after int }

func (p password) replaceIn(text, dsn string) string {
	if p.from == p.to {
		return text
	}
	as := dsn[p.before:p.from] + redacted + dsn[p.to:p.after]
	plain := dsn[p.before:p.after]
	escaped := strconv.Quote(plain)
	text = strings.ReplaceAll(text, plain, as)
	return strings.ReplaceAll(text, escaped[1:len(escaped)-1], as)
}

var (
	// A quoted value, or everything up to the next keyword, in case somebody forgot the quotes around a space.
	keywordPassword = regexp.MustCompile(`(?:^|\s)(\w*password\s*=\s*('(?:[^'\\]|\\.)*'|.*?))(?:\s+\w+\s*=|\s*$)`)
	spaceAndWord    = regexp.MustCompile(`\s(\S+)`)
	queryPassword   = regexp.MustCompile(`[?&](\w*password=([^&]*))`)
)

// findPasswords finds what a person would see as a password, because errors often come from a DSN that the driver cannot
// read. A text in no known form counts as a password as a whole.
func findPasswords(dsn string) (found []password) {
	keywords := keywordPassword
	if isURL(dsn) || !strings.Contains(dsn, "=") {
		keywords = queryPassword
	}
	if user, ok := userPassword(dsn); ok {
		found = append(found, user)
	}
	for _, m := range keywords.FindAllStringSubmatchIndex(dsn, -1) {
		found = append(found, password{m[2], m[4], m[5], m[5]})
		if value := dsn[m[4]:m[5]]; keywords == keywordPassword && !strings.HasPrefix(value, "'") {
			for _, word := range spaceAndWord.FindAllStringSubmatchIndex(value, -1) {
				found = append(found, password{m[4] + word[0], m[4] + word[2], m[4] + word[3], m[4] + word[3]})
			}
		}
	}
	if len(found) == 0 && !isURL(dsn) && !strings.Contains(dsn, "=") {
		found = append(found, password{0, 0, len(dsn), len(dsn)})
	}
	return found
}

// userPassword finds the password in //user:password@host. It ends at the last @ before the path or, because an unescaped /
// in a password is a usual mistake, at the last one in the path; in an invalid URL, at the last one of all.
func userPassword(dsn string) (password, bool) {
	start := strings.Index(dsn, "//")
	if start < 0 {
		return password{}, false
	}
	start += len("//")
	rest := dsn[start:]
	if _, err := url.Parse(dsn); err == nil {
		rest, _, _ = strings.Cut(rest, "?")
		if host, _, _ := strings.Cut(rest, "/"); strings.Contains(host, "@") {
			rest = host
		}
	}
	colon, at := strings.Index(rest, ":"), strings.LastIndex(rest, "@")
	if colon < 0 || at < colon {
		return password{}, false
	}
	return password{start + colon, start + colon + 1, start + at, start + at + 1}, true
}

// What may be a piece of a DSN in an error: anything with an @ in it, and anything quoted.
var (
	address = regexp.MustCompile("[^\\s\"'`=]*@[^\\s\"'`=]*[^\\s\"'`=:;,.)]")
	quotes  = []*regexp.Regexp{
		regexp.MustCompile(`"(?:[^"\\]|\\.)*"`), regexp.MustCompile(`'[^']*'`), regexp.MustCompile("`[^`]*`"),
	}
)

func unquote(piece string) string {
	if text, err := strconv.Unquote(piece); err == nil {
		return text
	}
	return strings.Trim(piece, "'`")
}

// isOfPassword reports whether text occurs in the DSN, and only where it overlaps a password.
func isOfPassword(text, dsn string, passwords []password) bool {
	found := false
	for at := 0; text != ""; at++ {
		i := strings.Index(dsn[at:], text)
		if i < 0 {
			break
		}
		at += i
		inside := false
		for _, p := range passwords {
			inside = inside || at < p.to && p.from < at+len(text)
		}
		if !inside {
			return false
		}
		found = true
	}
	return found
}
