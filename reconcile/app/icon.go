package app

import "beamsandbox/distribution/term"

// icon reads #{type => url, value => V}, where the key of the value may also be
// named like the type; {url, V}; or the atom identicon, which is what nil
// stands for too.
func (d *document) icon(top section) *Icon {
	n := top.value("icon")
	if n == nil {
		return nil
	}
	if s, ok := d.text(n); ok && s == "identicon" {
		return &Icon{Type: "identicon"}
	}
	if t, ok := n.Term.(term.Tuple); ok && len(t) == 2 {
		n = &term.Node{Line: n.Line, Column: n.Column, Term: term.Map{}, Children: []*term.Node{
			{Term: term.Atom("type")}, n.Children[0], {Term: term.Atom("value")}, n.Children[1],
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
