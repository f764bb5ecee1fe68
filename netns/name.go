package netns

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"beamsandbox/reconcile/app"
)

const (
	guestLink   = "eth0"         // the guest's end of the pair, seen from inside
	insideTable = "beamsandbox"  // the table inside every namespace
	tablePrefix = "beamsandbox_" // the tables on the host
	aliasWord   = "beamsandbox"  // first word of the alias of every host end
)

// namePattern admits every app name, and the names of builder guests. Names
// become file names and nftables identifiers.
var namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

func checkName(name app.Name) error {
	if !namePattern.MatchString(string(name)) {
		return fmt.Errorf("check network name %q: want a letter, then up to 63 letters, digits, _ or -", name)
	}
	return nil
}

// tagOf is short enough for names and tells one directory of namespaces from
// another on the same machine.
func tagOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:3])
}

// link names the host end: at most 15 bytes (IFNAMSIZ less its zero), so a
// hash; the alias beside it is for people.
func (h *Host) link(name app.Name) string {
	sum := sha256.Sum256([]byte(h.tag + " " + string(name)))
	return "bs" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:13])
}

// alias is what `ip link` shows on the host end: "beamsandbox <app> <tag>".
func (h *Host) alias(name app.Name) string {
	return aliasWord + " " + string(name) + " " + h.tag
}

// aliased returns the app whose alias this is, if it is one of this Host's.
func (h *Host) aliased(alias string) (app.Name, bool) {
	f := strings.Fields(alias)
	if len(f) != 3 || f[0] != aliasWord || f[2] != h.tag {
		return "", false
	}
	return app.Name(f[1]), checkName(app.Name(f[1])) == nil
}

// ours says whether a link is a guest's, of whichever run directory.
func ours(alias string) bool { return strings.HasPrefix(alias, aliasWord+" ") }

// table names the host's table of a guest: beamsandbox_<app>, with a tag
// after it where the run directory is not the default one.
func (h *Host) table(name app.Name) string {
	return tablePrefix + string(name) + h.tableSuffix()
}

func (h *Host) tableSuffix() string {
	if h.tag == tagOf(filepath.Join(DefaultRunDir, "netns")) {
		return ""
	}
	return "." + h.tag
}

// tabled returns the app whose table on the host this is, if it is one of
// this Host's. Names hold no dot, so a suffix is never part of one.
func (h *Host) tabled(table string) (app.Name, bool) {
	name, ok := strings.CutPrefix(table, tablePrefix)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, h.tableSuffix())
	return app.Name(name), ok && checkName(app.Name(name)) == nil
}
