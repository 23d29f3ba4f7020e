package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want Order
		code string // of the error; "" for none
		says string // part of the message
	}{
		"plain":        {text: "1,Zoë,MUG-01,2", want: Order{"1", "Zoë", "MUG-01", 2}},
		"not Latin":    {text: "2,李雷,TEA-12,3", want: Order{"2", "李雷", "TEA-12", 3}},
		"quoted":       {text: `3,"Smith, ""Joe""",MUG-01,1`, want: Order{"3", `Smith, "Joe"`, "MUG-01", 1}},
		"too few":      {text: "4,Zoë", code: brokenLine, says: "number of fields is 2, not 4"},
		"too many":     {text: "5,Smith, Anna,MUG-01,1", code: brokenLine, says: "number of fields is 5, not 4"},
		"open quote":   {text: `6,"Zoë,MUG-01,2`, code: brokenLine, says: `missing "`},
		"stray quote":  {text: `7,Zo"ë,MUG-01,2`, code: brokenLine, says: "column 5"},
		"blank":        {text: " ", code: brokenLine},
		"no number":    {text: ",Zoë,MUG-01,2", code: brokenLine, says: "order number"},
		"no customer":  {text: "8,,MUG-01,2", code: brokenLine, says: "customer"},
		"not UTF-8":    {text: "9,Zo\xeb,MUG-01,2", code: brokenLine, says: "UTF-8"},
		"NUL":          {text: "10,Zo\x00ë,MUG-01,2", code: brokenLine, says: "UTF-8"},
		"long":         {text: "11," + strings.Repeat("ë", maxLine) + ",MUG-01,2", code: brokenLine, says: "1000 bytes"},
		"word":         {text: "12,Zoë,MUG-01,two", code: badQuantity, says: `"two"`},
		"empty":        {text: "13,Zoë,MUG-01,", code: badQuantity},
		"negative":     {text: "14,Zoë,MUG-01,-1", code: badQuantity},
		"zero":         {text: "15,Zoë,MUG-01,0", code: badQuantity},
		"fraction":     {text: "16,Zoë,MUG-01,1.5", code: badQuantity},
		"over the top": {text: "17,Zoë,MUG-01,99999999999999999999", code: badQuantity},
		"space":        {text: "18,Zoë,MUG-01, 2", code: badQuantity},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(Line{File: "f.csv", Number: 212, Text: storable(test.text)})
			if workflow.Code(test.code) == "" {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
				return
			}
			if !errors.Is(err, &workflow.Error{Code: workflow.Code(test.code)}) {
				t.Fatalf("got %v, want code %q", err, workflow.Code(test.code))
			}
			if message := err.Error(); !strings.HasPrefix(message, "line 212: ") || !strings.Contains(message, test.says) {
				t.Errorf("message %q does not name the line, or not the cause %q", message, test.says)
			}
		})
	}
}

func TestReadLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.csv")
	content := "\ufeff" + header + "\r\n" + "1,Zoë,MUG-01,2\r\n" + "\r\n" + `2,"open` + "\n" + "3,\xeb,MUG-01,1"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readLines(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{"f.csv", 2, "1,Zoë,MUG-01,2"},
		{"f.csv", 4, `2,"open`}, // and the next line is one of its own
		{"f.csv", 5, "3,\ufffd,MUG-01,1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if id := got[1].ID(); id != "f.csv:4" {
		t.Errorf("id %q", id)
	}
}

func TestReadLinesRefuses(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "header only": header + "\n", "another header": "a,b\n1,2\n",
	} {
		path := filepath.Join(t.TempDir(), "f.csv")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if lines, err := readLines(path); err == nil {
			t.Errorf("%s: got %v and no error", name, lines)
		}
	}
}
