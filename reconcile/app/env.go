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
	case ComponentsKey:
		d.components(s)
	}
	if IsVariable(e.key) {
		d.variable(e, s)
	}
}
