package app

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"beamsandbox/distribution/term"
)

// Parse reads one app's configuration: a map or proplist with the keys of the
// specification, the same in all three formats. file is used in messages only.
// The error is of type Errors and holds everything wrong with the file; the
// Spec is then empty. Sources of type path are accepted here, whoever loads a
// git repository refuses them (Load).
func Parse(src []byte, format Format, file string) (Spec, error) {
	d := parse(src, format, file)
	if len(d.errs) > 0 {
		return Spec{}, d.errs
	}
	return d.spec, nil
}

// document is a parsed file: the spec as far as it could be read, where its
// fields are, and what is wrong.
type document struct {
	reader
	spec   Spec
	places map[string]*term.Node // "name", "source.type", "health.port", "env.http_port"
}

func parse(src []byte, format Format, file string) *document {
	d := &document{reader: reader{file: file, format: format}, places: map[string]*term.Node{}}
	root, err := read(src, format)
	if err != nil {
		err.File = file
		d.errs = append(d.errs, err)
		return d
	}
	d.top(root)
	d.errs.sort()
	if d.more {
		d.errs = append(d.errs, &SyntaxError{File: file, Msg: "further errors are not shown"})
	}
	return d
}

func read(src []byte, format Format) (*term.Node, *SyntaxError) {
	if len(src) > maxFile {
		return nil, &SyntaxError{Msg: "the file is larger than 1 MiB"}
	}
	switch format {
	case YAML, JSON:
		if at := invalidUTF8(src); at >= 0 {
			line := 1 + strings.Count(string(src[:at]), "\n")
			return nil, &SyntaxError{Line: line, Column: 1, Msg: "the line is not UTF-8"}
		}
	}
	switch format {
	case YAML:
		return readYAML(src)
	case JSON:
		return readJSON(src)
	}
	return readErlang(src)
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, else -1.
func invalidUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func (d *document) top(root *term.Node) {
	s := d.section(root, "", "name", "version", "description", "icon", "source",
		"isolation", "vm_config", "env", "health", "depends_on")
	if len(s.values) == 0 && len(d.errs) > 0 {
		return // not a map at all, or nothing known in it
	}
	spec := &d.spec
	if s.required("name", nameForm) {
		spec.Name = Name(s.text("name", nameForm, validName))
		d.ownName(s)
	}
	if s.required("version", versionForm) {
		spec.Version = s.text("version", versionForm, validVersion)
	}
	spec.Description = s.text("description", "a text of at most 4096 bytes", func(t string) bool { return len(t) <= 4096 })
	spec.Icon = d.icon(s)
	spec.Isolation = Isolation(s.choice("isolation", string(Embedded), string(Embedded), string(VM)))
	spec.Source = d.source(s)
	spec.VM = d.vm(s)
	spec.Env = d.env(s)
	spec.Health = d.health(s)
	spec.DependsOn = d.dependsOn(s)
	d.places["name"] = s.values["name"]
	d.reserved()
}

const nameForm = "an atom: a lower-case letter, then letters, digits and underscores, at most 64"

// validName reports whether s can be the name of an OTP application here.
func validName(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return only(s, "_")
}

// Valid reports whether n can be an app's name.
func (n Name) Valid() bool { return validName(string(n)) }

// ownName refuses the applications that every BEAM is made of: removing an
// embedded app unloads its code from the host VM.
func (d *document) ownName(top section) {
	if slices.Contains(taken(), string(d.spec.Name)) {
		top.fail("name", "an application of your own", string(d.spec.Name)+" belongs to the platform")
		d.spec.Name = ""
	}
}

// taken lists the applications of Erlang/OTP and Elixir, and bc_gitops.
func taken() []string {
	return strings.Fields(`
		asn1 bc_gitops common_test compiler crypto debugger dialyzer diameter edoc eldap elixir eex
		erl_docgen erl_interface erts et eunit ex_unit ftp iex inets jinterface kernel logger megaco
		mix mnesia observer odbc os_mon parsetools public_key reltool runtime_tools sasl snmp ssh
		ssl stdlib syntax_tools tftp tools wx xmerl`)
}

// only reports whether s holds nothing but ASCII letters, digits and extra.
func only(s, extra string) bool {
	for _, r := range s {
		ok := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(extra, r)
		if !ok {
			return false
		}
	}
	return true
}

const versionForm = `a version such as <<"1.0.0">>`

func validVersion(s string) bool {
	return s != "" && len(s) <= 128 && only(s, ".-+_~")
}

// printable reports whether s is one line of text without control characters.
func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (d *document) dependsOn(top section) []Name {
	var names []Name
	for i, n := range top.list("depends_on", "a list of app names") {
		t, ok := d.text(n)
		if !ok || !validName(t) {
			d.fail(n, "depends_on"+indexed(i), nameForm, "")
			continue
		}
		names = append(names, Name(t))
	}
	return names
}
