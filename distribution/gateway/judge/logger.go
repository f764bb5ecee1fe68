package judge

import (
	"strings"

	"beamsandbox/distribution/term"
)

// loggerText is a log event as a line of text. Kernel's logger sends the events
// of processes whose group leader is on another node to logger_proxy there, as
// {log, Level, Format, Args, Meta} or {log, Level, StringOrReport, Meta}.
// Functions in it are not run, and what has another form is shown as a term.
func loggerText(message []byte) string {
	t, _, err := term.Limits{Depth: 64, Nodes: 4 * maxLog}.DecodeBare(message)
	if err != nil {
		return "[log event too large to show]\n"
	}
	event, _ := t.(term.Tuple)
	if len(event) == 2 && event[0] == term.Atom("$olp_load") {
		event, _ = event[1].(term.Tuple)
	}
	if len(event) < 3 || event[0] != term.Atom("log") {
		return term.Brief(t, maxLog) + "\n"
	}
	level, _ := event[1].(term.Atom)
	return bound("["+string(level)+"] "+strings.TrimRight(eventText(event), "\n")) + "\n"
}

func eventText(event term.Tuple) string {
	if len(event) == 5 {
		return formatText(term.Atom("format"), term.List{Elems: []term.Term{event[2], event[3]}})
	}
	if _, text := term.Text(event[2]); text {
		return charsText(event[2])
	}
	return term.Brief(event[2], maxLog)
}
