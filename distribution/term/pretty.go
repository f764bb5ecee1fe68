package term

import "strings"

// prettyWidth is the column at which Pretty breaks lines.
const prettyWidth = 80

// Pretty is Format for people: what does not fit a line of 80 columns has one
// element a line, two columns further in. Parse reads it back as it does
// Format's.
func Pretty(t Term) string {
	f := formatter{}
	f.pretty(t, 0, 0)
	return f.out.String()
}

// pretty writes t at indent after used columns of its line.
func (f *formatter) pretty(t Term, indent, used int) {
	flat := Format(t)
	if used+len(flat) <= prettyWidth || strings.HasPrefix(flat, `"`) {
		f.out.WriteString(flat)
		return
	}
	switch t := t.(type) {
	case Tuple:
		f.block("{", "}", len(t), indent, func(i, in int) { f.pretty(t[i], in, in) })
	case List:
		t = t.joined()
		if t.Tail != nil {
			f.out.WriteString(flat)
			return
		}
		f.block("[", "]", len(t.Elems), indent, func(i, in int) { f.pretty(t.Elems[i], in, in) })
	case Map:
		f.block("#{", "}", len(t), indent, func(i, in int) {
			key := Format(t[i].Key) + " => "
			f.out.WriteString(key)
			f.pretty(t[i].Value, in, in+len(key))
		})
	default:
		f.out.WriteString(flat)
	}
}

// block writes n elements on lines of their own between open and closing.
func (f *formatter) block(open, closing string, n, indent int, element func(i, indent int)) {
	f.out.WriteString(open)
	for i := range n {
		if i > 0 {
			f.out.WriteByte(',')
		}
		f.out.WriteByte('\n')
		f.out.WriteString(strings.Repeat(" ", indent+2))
		element(i, indent+2)
	}
	f.out.WriteByte('\n')
	f.out.WriteString(strings.Repeat(" ", indent))
	f.out.WriteString(closing)
}
