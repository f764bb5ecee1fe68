package app

import "beamsandbox/distribution/term"

// env reads the application environment: atom keys, any values.
func (d *document) env(top section) map[string]term.Term {
	env := map[string]term.Term{}
	n := top.value("env")
	if n == nil {
		return env
	}
	entries, ok := d.entries(n)
	if !ok {
		top.fail("env", "a map or a proplist", "")
	}
	for _, e := range entries {
		field := "env." + d.show(e.at)
		switch _, twice := env[e.key]; {
		case e.key == "":
			d.fail(e.at, "env", "an atom as key", "")
		case twice:
			d.failFound(e.at, field, "each key once", "it again", "")
		}
		env[e.key] = e.value.Term
		d.envValue(e, section{r: &d.reader, at: n, path: "env", values: map[string]*term.Node{e.key: e.value}})
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
	if IsVariable(e.key) {
		d.variable(e, s)
	}
}

// components checks what a dashboard needs to show the app's LiveComponents.
func (d *document) components(env section) {
	for i, n := range env.list("liveview_components", "a list of maps with id and module") {
		s := section{r: &d.reader, at: n, path: env.field("liveview_components") + indexed(i), values: map[string]*term.Node{}}
		entries, ok := d.entries(n)
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
