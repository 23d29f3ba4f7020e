package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"

	"github.com/sqlworkflow/workflow"
)

// WhyCodes are those that the library declares.
func WhyCodes() (codes []workflow.WhyCode) {
	file, err := parser.ParseFile(token.NewFileSet(), "../why.go", nil, 0)
	if err != nil {
		panic(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, named := spec.Type.(*ast.Ident); !named || kind.Name != "WhyCode" {
			return false
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			panic(err)
		}
		codes = append(codes, workflow.WhyCode(text))
		return false
	})
	if len(codes) < 20 {
		panic("the reasons are not found in why.go")
	}
	return codes
}

// TitleOf is what a page calls the reason.
func TitleOf(code workflow.WhyCode) string {
	if code == workflow.WhyFinished {
		return "none is needed: the status says it"
	}
	return titles[code].title
}

// Acts are the addresses of all that can be done.
func Acts() []string { return slices.Sorted(maps.Keys(acts)) }
