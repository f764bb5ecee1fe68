package app

import (
	"fmt"
	"slices"
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
	for _, key := range componentTexts() {
		s.text(key, "a text of at most 4096 bytes", func(t string) bool { return t != "" && len(t) <= 4096 })
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
