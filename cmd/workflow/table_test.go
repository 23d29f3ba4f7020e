package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"
)

// What does not fit is cut, left out or put below, and columns stay aligned, whatever the width of characters.
func TestTable(t *testing.T) {
	t.Parallel()
	filled := func() *table {
		t := &table{note: true, columns: []column{
			{head: "RUN", cut: middle, least: 10}, {head: "QUEUE", drop: 2}, {head: "AGE", drop: 1}, {head: "NOTE", cut: end, least: leastNote},
		}}
		t.add("01935a7e-0000-7000", "画像処理", "3d", "waits for "+strings.Repeat("very ", 8)+"long")
		t.add("e\u0301te", "b", "12s", "")
		return t
	}
	for _, test := range []struct {
		width int
		want  string
	}{
		{0, "" +
			"RUN                 QUEUE     AGE  NOTE\n" +
			"01935a7e-0000-7000  画像処理  3d   waits for very very very very very very very very long\n" +
			"e\u0301te                 b         12s\n"},
		{70, "" +
			"RUN                 QUEUE     AGE  NOTE\n" +
			"01935a7e-0000-7000  画像処理  3d   waits for very very very very very…\n" +
			"e\u0301te                 b         12s\n"},
		{60, "" +
			"RUN            QUEUE     AGE  NOTE\n" +
			"01935a…0-7000  画像処理  3d   waits for very very very very…\n" +
			"e\u0301te            b         12s\n"},
		{30, "" +
			"RUN              QUEUE     AGE\n" +
			"01935a7…00-7000  画像処理  3d\n" +
			"    waits for very very very …\n" +
			"e\u0301te              b         12s\n"},
		{16, "" +
			"RUN\n" +
			"01935a7e…00-7000\n" +
			"    waits for v…\n" +
			"e\u0301te\n"},
		{5, "" +
			"RUN\n" +
			"0193…\n" +
			"    …\n" +
			"e\u0301te\n"},
	} {
		got := strings.Join(filled().lines(test.width), "")
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", test.width, diff)
		}
		for line := range strings.Lines(got) {
			if test.width > 0 && runewidth.StringWidth(strings.TrimSuffix(line, "\n")) > test.width {
				t.Errorf("width %d: %q", test.width, line)
			}
		}
	}
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "",
		"a few words that are broken at spaces": "a few words that are|broken at spaces",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa and b":  "aaaaaaaaaaaaaaaaaaaa|aaaaaaaaaa and b",
		"画像処理画像処理画像処理":                          "画像処理画像処理画像|処理",
	} {
		if got := strings.Join(wrapped(text, 20), "|"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
