package app

import (
	"strings"
	"time"
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
	places map[string]*node // "name", "source.type", "health.port", "env.http_port"
}

func parse(src []byte, format Format, file string) *document {
	d := &document{reader: reader{file: file}, places: map[string]*node{}}
	root, err := read(src, format)
	if err != nil {
		err.File = file
		d.errs = append(d.errs, err)
		return d
	}
	d.top(root)
	return d
}

func read(src []byte, format Format) (*node, *SyntaxError) {
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

func (d *document) top(root *node) {
	s := d.section(root, "", "name", "version", "description", "icon", "source",
		"isolation", "vm_config", "env", "health", "depends_on")
	if len(s.values) == 0 && len(d.errs) > 0 {
		return // not a map at all, or nothing known in it
	}
	spec := &d.spec
	if s.required("name", nameForm) {
		spec.Name = Name(s.text("name", nameForm, validName))
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

// icon reads #{type => url, value => V}, where the key of the value may also be
// named like the type; {url, V}; or the atom identicon, which is what nil
// stands for too.
func (d *document) icon(top section) *Icon {
	n := top.value("icon")
	if n == nil {
		return nil
	}
	if s, ok := n.text(); ok && s == "identicon" {
		return &Icon{Type: "identicon"}
	}
	if t, ok := n.term.(term.Tuple); ok && len(t) == 2 {
		n = &node{line: n.line, column: n.column, term: term.Map{}, children: []*node{
			{term: term.Atom("type")}, n.children[0], {term: term.Atom("value")}, n.children[1],
		}}
	}
	s := d.section(n, "icon", "type", "value", "url", "base64", "mime_type")
	icon := &Icon{Type: s.choice("type", "identicon", "url", "base64", "identicon")}
	icon.MIME = s.text("mime_type", "a media type such as <<\"image/png\">>", printable)
	if icon.Type != "url" && icon.Type != "base64" {
		return icon
	}
	key := "value"
	if s.value(key) == nil && s.value(icon.Type) != nil {
		key = icon.Type
	}
	form := "the icon's " + icon.Type + " as one line"
	if s.required(key, form) {
		icon.Value = s.text(key, form, printable)
	}
	return icon
}

// env reads the application environment: atom keys, any values.
func (d *document) env(top section) map[string]term.Term {
	env := map[string]term.Term{}
	n := top.value("env")
	if n == nil {
		return env
	}
	entries, ok := n.entries()
	if !ok {
		top.fail("env", "a map or a proplist", "")
	}
	for _, e := range entries {
		field := "env." + e.at.show()
		switch _, twice := env[e.key]; {
		case e.key == "":
			d.fail(e.at, "env", "an atom as key", "")
		case twice:
			d.failFound(e.at, field, "each key once", "it again", "")
		}
		env[e.key] = e.value.term
		d.envValue(e, section{r: &d.reader, at: n, path: "env", values: map[string]*node{e.key: e.value}})
	}
	return env
}

// envValue checks the keys of env that mean something outside the app.
func (d *document) envValue(e entry, s section) {
	switch e.key {
	case "http_port":
		s.port("http_port")
		d.places["env.http_port"] = e.value
	case "liveview_components":
		d.components(s)
	}
}

// components checks what a dashboard needs to show the app's LiveComponents.
func (d *document) components(env section) {
	for i, n := range env.list("liveview_components", "a list of maps with id and module") {
		s := section{r: &d.reader, at: n, path: env.field("liveview_components") + indexed(i), values: map[string]*node{}}
		entries, ok := n.entries()
		if !ok {
			d.fail(n, s.path, "a map with id and module", "")
			continue
		}
		for _, e := range entries {
			s.values[e.key] = e.value
		}
		for _, key := range []string{"id", "module"} {
			if s.required(key, "an atom") {
				s.text(key, "an atom", printable)
			}
		}
	}
}

// Defaults and bounds of a health check, in milliseconds.
const (
	defaultInterval = 10_000
	defaultTimeout  = 5_000
	minInterval     = 100
	maxInterval     = 24 * 60 * 60 * 1000
)

func (d *document) health(top section) *Health {
	n := top.value("health")
	if n == nil {
		return nil
	}
	s := d.section(n, "health", "type", "port", "path", "module", "interval", "timeout")
	h := &Health{
		Type:     HealthType(s.choice("type", "http", "http", "tcp", "custom")),
		Port:     s.port("port"),
		Path:     s.text("path", `an absolute path such as <<"/health">>`, validPath),
		Module:   s.text("module", "the name of a module", printable),
		Interval: s.milliseconds("interval", defaultInterval),
		Timeout:  s.milliseconds("timeout", defaultTimeout),
	}
	d.places["health.port"] = s.values["port"]
	switch h.Type {
	case HealthHTTP, HealthTCP:
		d.healthPort(s, h)
		s.foreign("module", "custom")
	case HealthCustom:
		s.required("module", "the name of a module that exports health_check/0")
	}
	if h.Type != HealthHTTP {
		s.foreign("path", "http")
	} else if h.Path == "" {
		h.Path = "/health"
	}
	return h
}

// healthPort fills in env.http_port when the check names no port.
func (d *document) healthPort(s section, h *Health) {
	if s.value("port") != nil {
		return
	}
	port, ok := d.spec.HTTPPort()
	if !ok {
		s.fail("port", "a TCP port", "name it here or as http_port in env")
	}
	h.Port = port
}

func validPath(s string) bool {
	return strings.HasPrefix(s, "/") && len(s) <= 1024 && printable(s) && !strings.Contains(s, " ")
}

func (s section) milliseconds(key string, otherwise int) time.Duration {
	if s.value(key) == nil {
		return time.Duration(otherwise) * time.Millisecond
	}
	return time.Duration(s.integer(key, "milliseconds", minInterval, maxInterval)) * time.Millisecond
}

// foreign notes a key that belongs to another type of its section.
func (s section) foreign(key, kind string) {
	if s.value(key) != nil {
		s.fail(key, "it for type "+kind+" only", "remove it or change the type")
	}
}

func (d *document) dependsOn(top section) []Name {
	var names []Name
	for i, n := range top.list("depends_on", "a list of app names") {
		t, ok := n.text()
		if !ok || !validName(t) {
			d.fail(n, "depends_on"+indexed(i), nameForm, "")
			continue
		}
		names = append(names, Name(t))
	}
	return names
}

// reserved refuses declared ports that are ours in every guest.
func (d *document) reserved() {
	if d.spec.Isolation != VM {
		return
	}
	for _, field := range []string{"env.http_port", "health.port"} {
		n := d.places[field]
		if n.absent() {
			continue
		}
		switch n.term {
		case term.Term(term.Int(EPMDPort)):
			d.fail(n, field, "a port of the app's own", "4369 is the guest's port mapper")
		case term.Term(term.Int(DistributionPort)):
			d.fail(n, field, "a port of the app's own", "9100 is the guest's Erlang distribution")
		}
	}
}
