package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"beamsandbox/distribution/term"
)

// ComponentsKey is the key of env that lists an app's LiveComponents.
const ComponentsKey = "liveview_components"

// Component is one LiveComponent that a dashboard on the host VM can show.
type Component struct {
	ID, Module         string
	Title, Description string
	PubSub, Topic      string // both or neither
	UpdateAssign       string
	// Term is the component as a dashboard reads it: names are atoms and texts
	// binaries, in whatever form they were written; other keys are as written.
	Term term.Map
}

// Components are the LiveComponents of an environment that was checked.
func Components(env map[string]term.Term) []Component {
	list, _ := env[ComponentsKey].(term.List)
	elems, _ := list.Proper()
	var all []Component
	for _, e := range elems {
		pairs, ok := term.Proplist(e)
		if !ok {
			continue
		}
		var c Component
		for _, p := range pairs {
			c.add(p)
		}
		all = append(all, c)
	}
	return all
}

// add takes one key over.
func (c *Component) add(p term.Pair) {
	key, isText := term.Text(p.Key)
	value, _ := term.Text(p.Value)
	if isText {
		p.Key = term.Atom(key)
	}
	if f := c.field(key); isText && f != nil {
		if p.Value == term.Term(term.Atom("undefined")) || p.Value == term.Term(term.Atom("null")) {
			return // as good as none
		}
		*f = value
		p.Value = term.Atom(value)
		if slices.Contains(componentTexts(), key) {
			p.Value = term.Binary(value)
		}
	}
	c.Term = append(c.Term, p)
}

// field is where a key of the specification goes.
func (c *Component) field(key string) *string {
	return map[string]*string{
		"id": &c.ID, "module": &c.Module, "title": &c.Title, "description": &c.Description,
		"pubsub": &c.PubSub, "topic": &c.Topic, "update_assign": &c.UpdateAssign,
	}[key]
}

// componentNames are the keys that hold an atom, the required ones first;
// componentTexts those that hold a text.
func componentNames() []string { return []string{"id", "module", "pubsub", "update_assign"} }
func componentTexts() []string { return []string{"title", "description", "topic"} }

const (
	maxComponents = 64
	componentForm = "a map with id and module"
)

// components checks what a dashboard needs to show the app's LiveComponents.
func (d *document) components(env section) {
	list := env.list(ComponentsKey, "a list of maps with id and module")
	if len(list) > maxComponents {
		env.fail(ComponentsKey, fmt.Sprintf("at most %d components", maxComponents), "")
		return
	}
	seen := map[string]bool{}
	for i, n := range list {
		s := section{r: &d.reader, at: n, path: env.field(ComponentsKey) + indexed(i), values: map[string]*term.Node{}}
		entries, ok := d.entries(n)
		if !ok {
			d.fail(n, s.path, componentForm, "")
			continue
		}
		for _, e := range entries {
			if s.values[e.key] != nil {
				d.failFound(e.at, s.field(e.key), "each key once", "it again", "")
			}
			s.values[e.key] = e.value
		}
		d.component(s, seen)
	}
}

// component checks one of them; seen are the ids of those before it.
func (d *document) component(s section, seen map[string]bool) {
	var id string
	for i, key := range componentNames() {
		if i < 2 && !s.required(key, "an atom") {
			continue
		}
		text := s.text(key, "an atom of at most 255 characters", atomText)
		if key == "id" {
			id = text
		}
	}
	d.places[s.field("pubsub")] = s.value("pubsub")
	for _, key := range componentTexts() {
		text := s.text(key, "a text of at most 4096 bytes", func(t string) bool { return t != "" && len(t) <= 4096 })
		if key == "topic" && strings.HasSuffix(text, "*") {
			s.fail(key, "the text of one topic", "the operator's policy may grant every topic that begins so")
		}
	}
	if id != "" && seen[id] {
		s.fail("id", "an id of its own for each component", "")
	}
	seen[id] = true
	switch {
	case s.value("topic") != nil && s.value("pubsub") == nil:
		s.fail("pubsub", "the PubSub of the topic", "a dashboard subscribes with both")
	case s.value("pubsub") != nil && s.value("topic") == nil:
		s.fail("topic", "a topic of the PubSub", "a dashboard subscribes with both")
	}
}

// atomText reports whether s can be an atom that a person wrote.
func atomText(s string) bool { return printable(s) && utf8.RuneCountInString(s) <= 255 }

// pubSubs breaks guests whose components name another app's PubSub, which the
// operator's policy does not share with them: they would be in its groups, and
// hear and say what they like of its topics.
func (l *loader) pubSubs() {
	if l.opts.Shared == nil {
		return
	}
	named := map[string][]*document{}
	for _, d := range l.good {
		for _, c := range Components(d.spec.Env) {
			if c.PubSub != "" && !slices.Contains(named[c.PubSub], d) {
				named[c.PubSub] = append(named[c.PubSub], d)
			}
		}
	}
	for _, pubsub := range slices.Sorted(maps.Keys(named)) {
		l.sharePubSub(pubsub, named[pubsub])
	}
}

// sharePubSub is pubSubs for one of them, which components of all these name.
func (l *loader) sharePubSub(pubsub string, all []*document) {
	owner := slices.IndexFunc(l.good, func(d *document) bool { return d.spec.Name.owns(pubsub) })
	uninvited := func(d *document) bool { return !l.opts.Shared(d.spec.Name, pubsub) }
	for _, d := range all {
		if d.spec.Isolation != VM || !uninvited(d) {
			continue
		}
		other := slices.IndexFunc(all, func(o *document) bool { return o != d && (o.spec.Isolation != VM || uninvited(o)) })
		switch {
		case owner >= 0 && l.good[owner] != d:
			d.failPubSub(pubsub, "which is "+string(l.good[owner].spec.Name)+"'s")
		case owner < 0 && other >= 0:
			d.failPubSub(pubsub, "which is "+string(all[other].spec.Name)+"'s too")
		}
	}
}

func (d *document) failPubSub(pubsub, why string) {
	i := slices.IndexFunc(Components(d.spec.Env), func(c Component) bool { return c.PubSub == pubsub })
	field := "env." + ComponentsKey + indexed(i) + ".pubsub"
	at := d.places[field]
	d.failFound(at, field, "a PubSub of the app's own", d.show(at)+", "+why, "the operator's policy may share it (messages, pubsubs)")
}

// owns says whether a module is of the app as Elixir names them:
// Elixir.DemoUptime.PubSub is one of demo_uptime.
func (n Name) owns(module string) bool {
	camel := ""
	for _, word := range strings.Split(string(n), "_") {
		if word != "" {
			camel += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.HasPrefix(module+".", "Elixir."+camel+".")
}
