package project

import (
	"go/ast"
	"go/parser"
	"strings"
	"testing"
)

func TestExportedNamesAreDocumented(t *testing.T) {
	packages := map[string]bool{} // directory: has a package comment
	for _, f := range sources(t, parser.ParseComments|parser.SkipObjectResolution) {
		if f.test() || f.syn.Name.Name == "main" || strings.Contains("/"+f.dir+"/", "/internal/") {
			continue
		}
		packages[f.dir] = packages[f.dir] || f.syn.Doc != nil
		for _, name := range undocumented(f.syn) {
			t.Errorf("%s: %s has no doc comment", f.fset.Position(name.Pos()), name.Name)
		}
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

// undocumented returns the exported functions, methods, types, constants and
// variables without a comment. One on a group of constants or variables, or at the
// end of a line, counts; fields do not have to have one.
func undocumented(f *ast.File) []*ast.Ident {
	var bare []*ast.Ident
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			// What Error returns needs no words.
			if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && d.Name.Name != "Error" {
				bare = append(bare, d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					documented := s.Doc != nil || d.Doc != nil && len(d.Specs) == 1
					if s.Name.IsExported() && !documented {
						bare = append(bare, s.Name)
					}
				case *ast.ValueSpec:
					if s.Doc != nil || s.Comment != nil || d.Doc != nil {
						continue
					}
					for _, name := range s.Names {
						if name.IsExported() {
							bare = append(bare, name)
						}
					}
				}
			}
		}
	}
	return bare
}

// exportedReceiver is true for functions and for methods of exported types.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	name, ok := t.(*ast.Ident)
	return ok && name.IsExported()
}
