package workflow

import (
	"encoding/json"
	"strings"
	"testing"
)

// A large text is made once and walked in place: what is encoded already is copied at once, for its owner may use the memory again, and
// nothing else is the larger for it.
func TestLargePayloadIsCopiedOnce(t *testing.T) { //nolint:paralleltest // it counts allocations
	text, err := json.Marshal([]string{strings.Repeat("a large text, \n\"quoted\" and in Köln; ", 10_000)})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{"raw": json.RawMessage(text), "marshals itself": &marshalsOnce{t: t, text: text}} {
		encoded, err := encode("input", value, len(text))
		if err != nil || string(encoded) != string(text) || &encoded[0] == &text[0] {
			t.Errorf("%s: not copied, or %v", name, err)
		}
	}
	var raw any = json.RawMessage(text)
	if allocated := testing.AllocsPerRun(10, func() { _, _ = encode("input", raw, len(text)) }); allocated > 1 {
		t.Errorf("what is encoded was allocated %v times", allocated)
	}
	if allocated := testing.AllocsPerRun(10, func() { _, _ = checkJSONB(text) }); allocated != 0 {
		t.Errorf("the check allocated %v times", allocated)
	}
	var s any = strings.Repeat("a line of a large text\n", 10_000)
	if allocated := testing.AllocsPerRun(10, func() { _, _ = encode("input", s, 1<<20) }); allocated != 1 {
		t.Errorf("a string was allocated %v times", allocated)
	}
}

// marshalsOnce has its JSON made once.
type marshalsOnce struct {
	t    *testing.T
	text []byte
	made bool
}

func (m *marshalsOnce) MarshalJSON() ([]byte, error) {
	if m.made {
		m.t.Error("made a second time")
	}
	m.made = true
	return m.text, nil
}

// Texts, and JSON that is kept as it is, are decoded to what encoding/json makes of them.
func TestDecodeLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	for text, valid := range payloads {
		if valid {
			decodesLikeEncodingJSON(t, []byte(text))
		}
	}
	for _, text := range []string{
		`"a"`, `"Köln"`, ` "a"`, `"a" `, `"a\"b"`, `"\\"`, `"\\\""`, `"\b\f\n\r\t\/"`, `"\u00e9\u0041"`, `"\ud83d\ude00x"`, "\n[1, 2]\t", `{"a": "b"}`,
	} {
		decodesLikeEncodingJSON(t, []byte(text))
	}
}

func FuzzDecode(f *testing.F) {
	for text := range payloads {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := checkJSONB(text); err == nil {
			decodesLikeEncodingJSON(t, text)
		}
	})
}

func decodesLikeEncodingJSON(t *testing.T, payload []byte) {
	t.Helper()
	gotText, wantText, gotRaw, wantRaw := "before", "before", json.RawMessage("before"), json.RawMessage("before")
	got, want := decode("payload", payload, &gotText), json.Unmarshal(payload, &wantText)
	if (got == nil) != (want == nil) || gotText != wantText {
		t.Errorf("%s: %q, %v, want %q, %v", payload, gotText, got, wantText, want)
	}
	got, want = decode("payload", payload, &gotRaw), json.Unmarshal(payload, &wantRaw)
	if got != nil || want != nil || string(gotRaw) != string(wantRaw) {
		t.Errorf("%s: %s, %v, want %s, %v", payload, gotRaw, got, wantRaw, want)
	}
}

// A large text is copied once, and never the record itself given away.
func TestLargePayloadIsDecodedAtOnce(t *testing.T) { //nolint:paralleltest // it counts allocations
	for _, content := range []string{"plain ", `a line\n`} {
		payload := json.RawMessage(`"` + strings.Repeat(content, 100_000) + `"`)
		var text string
		var raw json.RawMessage
		if allocated := testing.AllocsPerRun(10, func() { _ = decode("payload", payload, &text) }); allocated > 1 {
			t.Errorf("%q: a text was allocated %v times", content, allocated)
		}
		if allocated := testing.AllocsPerRun(10, func() { _ = decode("payload", payload, &raw) }); allocated > 1 || &raw[0] == &payload[0] {
			t.Errorf("%q: JSON was allocated %v times", content, allocated)
		}
	}
}

// A string is encoded to what encoding/json decodes to the same, and JSONB takes.
func FuzzQuote(f *testing.F) {
	for text := range payloads {
		f.Add(text)
	}
	for _, s := range []string{"", "a \"quote\" and a \\", "1234567\n", "12345678\x00", "\x7f\x1f\b\f\r\t", "a\xffb", "Köln \u2028 <b>&", "\xed\xa0\x80", "\xf0\x9f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := quote(s)
		if nul := strings.ContainsRune(s, 0); nul || err != nil {
			if !nul || err == nil {
				t.Errorf("quote(%q): %v", s, err)
			}
			return
		}
		made, _ := json.Marshal(s)
		var got, want string
		if json.Unmarshal(text, &got) != nil || json.Unmarshal(made, &want) != nil || got != want {
			t.Errorf("%q → %s: %q, want %q", s, text, got, want)
		}
		if _, err := checkJSONB(text); err != nil {
			t.Errorf("%q → %s: %v", s, text, err)
		}
	})
}
