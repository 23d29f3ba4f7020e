package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	var nilMap map[string]int
	for name, test := range map[string]struct {
		value any
		want  string
		err   error
	}{
		"nil":              {nil, "null", nil},
		"nil map":          {nilMap, "null", nil},
		"nil raw":          {json.RawMessage(nil), "null", nil},
		"raw as it is":     {json.RawMessage(" [1.0 , 2]"), " [1.0 , 2]", nil},
		"raw within":       {[]json.RawMessage{json.RawMessage("1.0")}, "[1.0]", nil},
		"pointer to raw":   {new(json.RawMessage), "null", nil},
		"at the limit":     {"12345678", `"12345678"`, nil},
		"over the limit":   {"123456789", "", ErrPayloadTooLarge},
		"empty raw":        {json.RawMessage{}, "", ErrInvalidArgument},
		"not marshallable": {func() {}, "", ErrInvalidArgument},
		"bad UTF-8":        {"\xff", `"\ufffd"`, nil}, // encoding/json's own mend
		"NUL":              {"\x00", "", ErrInvalidArgument},
		"all hidden":       {struct{ a, b int }{1, 2}, "", ErrInvalidArgument},
		"pointer to such":  {&struct{ a int }{1}, "", ErrInvalidArgument},
		"empty struct":     {struct{}{}, "{}", nil},
		"all omitted": {struct {
			A int `json:",omitempty"`
		}{}, "{}", nil},
		"embedded":        {struct{ omits }{}, "{}", nil},
		"its own marshal": {emptyObject{1}, "{}", nil},
		"nil struct":      {(*struct{ a int })(nil), "null", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := encode("input", test.value, 10)
			if !errors.Is(err, test.err) || string(got) != test.want {
				t.Errorf("encode = %q, %v, want %q, %v", got, err, test.want, test.err)
			}
		})
	}
}

type omits struct {
	A int `json:",omitempty"`
}

type emptyObject struct{ n int }

func (emptyObject) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

// payloads is where JSON and JSONB part, and around there. Whether they are right about PostgreSQL is
// asked of a real one in store_test.
var payloads = map[string]bool{
	`null`: true, `0`: true, `false`: true, `""`: true, ` [1, {"a": "b"}] `: true,
	`"\ud83d\ude00"`: true, `"\uD83D\uDE00"`: true, `"\\u0000"`: true, `"\\ud800"`: true, `"a\\\"\\u0000"`: true,
	`"\u0000"`: false, `"\ud800"`: false, `"\ud800x"`: false, `"\ud800\n"`: false, `"\ud800\ud800"`: false,
	`"\ude00"`: false, `"\ud800\u0041"`: false, `{"\u0000": 1}`: false, `["\ud83d\\ude00"]`: false, `"\\\u0000"`: false,
	"\"\xff\"": false, "\"\xed\xa0\x80\"": false, "\ufeff1": false, "\"\x00\"": false,
	`1e131071`: true, `1e131072`: false, `12e131071`: false, `0.1e-16382`: true, `1e-16383`: true, `1e-16384`: false, `1e-20000`: false,
	`-1E+131071`: true, `-1E+131072`: false, `1e99999999999999999999`: false, `1e-99999999999999999999`: false,
	``: false, `{`: false, `1 2`: false, `01`: false, `+1`: false, `.5`: false, `"\x"`: false, `"\u12"`: false, `NaN`: false,
}

func TestCheckJSONB(t *testing.T) {
	t.Parallel()
	check := func(text string, want bool) {
		if _, err := checkJSONB([]byte(text)); (err == nil) != want {
			t.Errorf("checkJSONB(%.60q…) = %v, want taken: %t", text, err, want)
		}
	}
	for text, want := range payloads {
		check(text, want)
	}
	for text, more := range map[string]string{"": "9", "-": "9", "1": "0"} {
		check(text+strings.Repeat(more, maxIntegerDigits-len(strings.Trim(text, "-"))), true)
		check(text+strings.Repeat(more, maxIntegerDigits+1-len(strings.Trim(text, "-"))), false)
	}
	check("0."+strings.Repeat("3", maxFractionDigits), true)
	check("0."+strings.Repeat("3", maxFractionDigits+1), false)
	for open, end := range map[string]string{"[": "]", `{"a":[`: "]}"} {
		levels := strings.Count(open, "[") + strings.Count(open, "{")
		check(strings.Repeat(open, maxNesting/levels)+strings.Repeat(end, maxNesting/levels), true)
		check("["+strings.Repeat(open, maxNesting/levels)+strings.Repeat(end, maxNesting/levels)+"]", false)
	}
	check(`[`+strings.Repeat(`[],`, 5*maxNesting)+`"[[["]`, true) // wide is not deep
}

// FuzzCheckJSONB compares the check with another way to the same answer: decode the text and look at what it holds.
func FuzzCheckJSONB(f *testing.F) {
	for text := range payloads {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		minuses, err := checkJSONB(text)
		why := refusable(text)
		if err == nil && why != "" {
			t.Errorf("taken, but %s", why)
		}
		if err != nil && why == "" && !hasLeadingZeroExponent(text) {
			t.Errorf("refused without need: %v", err)
		}
		for _, at := range minuses {
			if text[at] != '-' || text[at+1] != '0' {
				t.Errorf("no negative zero at %d", at)
			}
		}
	})
}

// refusable says why JSONB would refuse the text, "" if it would not.
func refusable(text []byte) string {
	switch {
	case !utf8.Valid(text):
		return "not UTF-8"
	case !json.Valid(text):
		return "not JSON"
	// Go decodes half a surrogate pair to U+FFFD, which then must be in the text itself.
	case bytes.Contains(text, []byte("\uFFFD")) || bytes.Contains(bytes.ToLower(text), []byte(`\ufffd`)):
		return refusableAfter(bytes.ReplaceAll(replaceEscaped(text), []byte("\uFFFD"), []byte("x")))
	}
	return refusableAfter(text)
}

// replaceEscaped writes x for the escape of U+FFFD, but leaves an escaped backslash before ufffd.
func replaceEscaped(text []byte) []byte {
	var out []byte
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\':
			out = append(out, text[i])
		case bytes.EqualFold(text[i:min(i+6, len(text))], []byte(`\ufffd`)):
			out = append(out, 'x')
			i += 5
		default:
			out = append(out, text[i], text[i+1])
			i++
		}
	}
	return out
}

func refusableAfter(text []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	depth := 0
	for {
		token, err := decoder.Token()
		if err != nil {
			return ""
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '[' || token == '{' {
				depth++
			} else {
				depth--
			}
			if depth > 1000 {
				return "nested too deep"
			}
		case string:
			if strings.ContainsAny(token, "\x00\uFFFD") {
				return "a character that text cannot hold"
			}
		case json.Number:
			if !isNumeric(token.String()) {
				return "a number that numeric cannot hold"
			}
		}
	}
}

// isNumeric reports whether PostgreSQL's numeric holds a number: 131,072 digits before the point, 16,383 after it.
func isNumeric(number string) bool {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(number, "-")), "e")
	integer, fraction, _ := strings.Cut(mantissa, ".")
	shift := new(big.Int)
	if exponent != "" {
		shift.SetString(strings.TrimPrefix(exponent, "+"), 10)
	}
	before := new(big.Int).Add(big.NewInt(int64(len(integer))), shift)
	behind := new(big.Int).Sub(big.NewInt(int64(len(fraction))), shift)
	return before.Cmp(big.NewInt(131072)) <= 0 && behind.Cmp(big.NewInt(16383)) <= 0
}

// hasLeadingZeroExponent reports whether the text may have an exponent so long that the check does not calculate.
func hasLeadingZeroExponent(text []byte) bool {
	return bytes.ContainsAny(text, "eE") && len(text) > 100
}

// What JSONB has as 0 is 0 before it was stored too.
func TestNegativeZeros(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`-0`: `0`, `-0.0`: `0.0`, `[-0,1,-0e5,-0.5]`: `[0,1,0e5,-0.5]`, `{"-0":"-0","\"-0":-0}`: `{"-0":"-0","\"-0":0}`,
		`-1`: `-1`, `[-10,-0.01]`: `[-10,-0.01]`, `"-0"`: `"-0"`, `-0E-1`: `0E-1`,
	} {
		if got, err := encode("input", json.RawMessage(text), 100); err != nil || string(got) != want {
			t.Errorf("%s → %s, %v, want %s", text, got, err, want)
		}
	}
}
