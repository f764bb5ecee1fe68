package images

import (
	"os"
	"regexp"
	"strings"

	"beamsandbox/distribution/term"
)

// otpLicense is that of Erlang/OTP and its applications (its LICENSE.txt).
const otpLicense = "Apache-2.0"

// knownLicenses are the identifiers of the SPDX list that packages name most,
// in capital letters without blanks and dashes as people write them.
var knownLicenses = map[string]string{
	"APACHE2.0": "Apache-2.0", "APACHE2": "Apache-2.0", "APACHELICENSE2.0": "Apache-2.0", "MIT": "MIT", "ISC": "ISC",
	"BSD2CLAUSE": "BSD-2-Clause", "BSD3CLAUSE": "BSD-3-Clause", "MPL2.0": "MPL-2.0", "MPL1.1": "MPL-1.1",
	"LGPL2.1ONLY": "LGPL-2.1-only", "LGPL3.0ONLY": "LGPL-3.0-only", "GPL2.0ONLY": "GPL-2.0-only",
	"GPL3.0ONLY": "GPL-3.0-only", "UNLICENSE": "Unlicense", "CC01.0": "CC0-1.0", "EPL1.0": "EPL-1.0",
}

var notInLicense = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// declare writes the licences that a package's authors name into p: those of
// the SPDX list as an expression, since they all hold, any others as they wrote
// them.
func (p *spdxPackage) declare(licenses []string) {
	var ids []string
	for _, name := range licenses {
		id, known := knownLicenses[strings.NewReplacer(" ", "", "-", "").Replace(strings.ToUpper(name))]
		if !known {
			p.Declared = "NOASSERTION"
			p.Comment = strings.TrimSpace(p.Comment + " licenses: " + printable(strings.Join(licenses, ", ")))
			return
		}
		ids = append(ids, id)
	}
	p.Declared = strings.Join(ids, " AND ")
}

// appLicenses reads the key licenses of an application of a release, which
// rebar3 leaves in its .app file; nil when it says nothing.
func appLicenses(release, app string) []string {
	root, err := os.OpenRoot(release)
	if err != nil {
		return nil
	}
	defer root.Close() //nolint:errcheck // opened to read
	name, _, _ := strings.Cut(app, "-")
	text, err := readConfig(root, "lib/"+app+"/ebin/"+name+".app")
	if err != nil {
		return nil
	}
	terms, err := term.Parse(text)
	if err != nil || len(terms) != 1 {
		return nil
	}
	file, ok := terms[0].(term.Tuple)
	if !ok || len(file) != 3 || file[0] != term.Atom("application") {
		return nil
	}
	pairs, _ := term.Proplist(file[2])
	for _, p := range pairs {
		if p.Key == term.Term(term.Atom("licenses")) {
			return textsOf(p.Value)
		}
	}
	return nil
}

// textsOf is a list of texts; what is none is left out.
func textsOf(t term.Term) (out []string) {
	list, _ := t.(term.List)
	for _, e := range list.Elems {
		if s, ok := term.Text(e); ok && s != "" && len(out) < 20 {
			out = append(out, notInLicense.ReplaceAllString(s, " "))
		}
	}
	return out
}
