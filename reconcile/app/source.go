package app

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// source reads where the code comes from; without one it is the hex package
// of the app's name and version.
func (d *document) source(top section) Source {
	n := top.value("source")
	if n == nil {
		return Source{Type: SourceHex, Ref: d.spec.Version}
	}
	s := d.section(n, "source", "type", "url", "ref", "sha256", "mcid", "name", "path")
	kind := SourceType(s.choice("type", string(SourceHex),
		string(SourceHex), string(SourceGit), string(SourceRelease), string(SourceMesh), string(SourceImage), string(SourcePath)))
	if kind == "" {
		return Source{}
	}
	d.places["source.type"] = n
	s.fit(kind)
	src := Source{
		Type:   kind,
		URL:    s.address(kind),
		Ref:    s.text("ref", "a branch, tag, commit or version", validRef),
		SHA256: strings.ToLower(s.text("sha256", "64 hex digits", validSHA256)),
		MCID:   s.text("mcid", "a Macula content identifier", validMCID),
		Name:   s.text("name", "the name of a hex package", validName),
	}
	if src.Ref == "" {
		src.Ref = map[SourceType]string{SourceHex: d.spec.Version, SourceGit: "HEAD"}[kind]
	}
	return src
}

// sourceKeys says which keys a type of source needs and which it may have.
func sourceKeys(kind SourceType) (required, optional []string) {
	switch kind {
	case SourceHex:
		return nil, []string{"ref", "name"}
	case SourceGit:
		return []string{"url"}, []string{"ref"}
	case SourceRelease:
		return []string{"url", "sha256"}, nil
	case SourceMesh:
		return []string{"mcid"}, nil
	case SourceImage:
		return []string{"url"}, nil
	}
	return []string{"path"}, nil
}

// fit notes the keys that the type needs and lacks, or has and does not use:
// a sha256 that nobody verifies is worse than none.
func (s section) fit(kind SourceType) {
	required, optional := sourceKeys(kind)
	for _, key := range []string{"url", "ref", "sha256", "mcid", "name", "path"} {
		switch {
		case slices.Contains(required, key):
			if s.value(key) == nil {
				s.fail(key, "one for type "+string(kind), "")
			}
		case !slices.Contains(optional, key) && s.value(key) != nil:
			s.fail(key, "none for type "+string(kind), "remove it or change the type")
			delete(s.values, key)
		}
	}
}

// address reads the url, or the path of a local folder. What is shown of a
// refused one never holds a password.
func (s section) address(kind SourceType) string {
	key, expected := "url", addressForm(kind)
	if kind == SourcePath {
		key = "path"
	}
	n := s.value(key)
	if n == nil {
		return ""
	}
	v, ok := s.r.text(n)
	if ok && validAddress(kind, v) {
		return v
	}
	if ok && strings.Contains(v, "@") {
		s.r.failFound(n, s.field(key), expected, strconv.Quote(withoutUser(v)), "user names and passwords do not belong into git")
		return ""
	}
	s.fail(key, expected, "")
	return ""
}

func addressForm(kind SourceType) string {
	switch kind {
	case SourceGit:
		return "a git address: https://…, ssh://…, file:///… or git@host:path"
	case SourceRelease:
		return "the address of a tarball: https://…, http://… or file:///…"
	case SourceImage:
		return "an image reference such as registry.example/app@sha256:…, or an archive: file:///…"
	}
	return "the path of a folder"
}

func validAddress(kind SourceType, s string) bool {
	if len(s) > 2048 || !printable(s) || strings.Contains(s, " ") && kind != SourcePath {
		return false
	}
	switch kind {
	case SourceGit:
		return scpAddress.MatchString(s) || validURL(s, "https", "ssh", "file")
	case SourceRelease:
		return validURL(s, "https", "http", "file")
	case SourceImage:
		return imageReference.MatchString(s) || validURL(s, "file")
	}
	return true
}

// scpAddress is git's short form of ssh, "git@host:path" (git-clone(1)).
var scpAddress = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^:\\-][^:\\]*$`)

// imageReference is "host/name:tag@digest" as containerd takes it, with the
// host spelled out.
var imageReference = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?$`)

// validURL takes a host and a path, or the path alone for file; a user name
// for ssh only, and never a password.
func validURL(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Opaque != "" || len(u.Path) < 2 || u.Fragment != "" {
		return false
	}
	if u.User != nil {
		if _, password := u.User.Password(); password || u.Scheme != "ssh" {
			return false
		}
	}
	if u.Scheme == "file" {
		return u.Host == ""
	}
	return u.Hostname() != "" && !strings.HasPrefix(u.Hostname(), "-")
}

// withoutUser cuts what stands between the scheme and the last @.
func withoutUser(s string) string {
	at := strings.LastIndexByte(s, '@')
	if i := strings.Index(s, "://"); i >= 0 && at > i {
		return s[:i+3] + "…" + s[at:]
	}
	return "…" + s[at:]
}

// validRef takes what git check-ref-format(1) lets pass, and nothing that
// could be an option.
func validRef(s string) bool {
	return printable(s) && len(s) <= 255 && !strings.HasPrefix(s, "-") && !strings.HasPrefix(s, "/") &&
		!strings.HasSuffix(s, "/") && !strings.HasSuffix(s, ".lock") && !strings.Contains(s, "..") &&
		!strings.Contains(s, "//") && !strings.Contains(s, "@{") && !strings.ContainsAny(s, " ~^:?*[\\")
}

func validSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func validMCID(s string) bool { return s != "" && len(s) <= 255 && only(s, "-_.:") }
