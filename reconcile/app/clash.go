package app

import (
	"fmt"
	"slices"
)

// clashes breaks all apps that cannot run beside each other: two of one name,
// two guests of one node name, and two that declare one port unless both are
// embedded (apps in the host VM may share its port, a guest's is published on
// the host). Each one's error names another. None is preferred: whichever runs
// already stays.
func (l *loader) clashes() {
	single := slices.Clone(l.good)
	for _, group := range grouped(l.good, func(d *document) []string { return []string{string(d.spec.Name)} }) {
		blame(group, "an app of its own", "give each folder another name", nameField)
		single = slices.DeleteFunc(single, func(d *document) bool { return slices.Contains(group, d) })
	}
	for _, group := range grouped(single, func(d *document) []string {
		if d.spec.Isolation != VM {
			return nil
		}
		return []string{l.node(d)}
	}) {
		blame(group, "a node name of its own", "change vm_config.node_prefix of one", nameField)
	}
	for port, group := range grouped(single, func(d *document) []uint16 { return d.spec.Ports() }) {
		if slices.ContainsFunc(group, isGuest) {
			slices.SortStableFunc(group, guestsFirst)
			blame(group, "a port of its own", "give one another port", func(d *document) string { return d.declares(port) })
		}
	}
}

func nameField(*document) string { return "name" }

func isGuest(d *document) bool { return d.spec.Isolation == VM }

func guestsFirst(a, b *document) int {
	switch {
	case isGuest(a) && !isGuest(b):
		return -1
	case isGuest(b) && !isGuest(a):
		return 1
	}
	return 0
}

// grouped returns the documents that have a key in common.
func grouped[K comparable](docs []*document, keys func(*document) []K) map[K][]*document {
	groups := map[K][]*document{}
	for _, d := range docs {
		for _, k := range keys(d) {
			groups[k] = append(groups[k], d)
		}
	}
	for k, g := range groups {
		if len(g) < 2 {
			delete(groups, k)
		}
	}
	return groups
}

// blame gives every document an error that names the first other one.
func blame(group []*document, expected, hint string, field func(*document) string) {
	for i, d := range group {
		other := group[0]
		if i == 0 {
			other = group[1]
		}
		here, there := d.places[field(d)], other.places[field(other)]
		found := fmt.Sprintf("%s, which %s:%d:%d has too", d.show(here), other.file, there.Line, there.Column)
		d.failFound(here, field(d), expected, found, hint)
	}
}

// declares returns the field that declares port p.
func (d *document) declares(p uint16) string {
	if port, ok := d.spec.HTTPPort(); ok && port == p {
		return "env.http_port"
	}
	return "health.port"
}
