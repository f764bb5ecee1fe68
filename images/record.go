package images

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"beamsandbox/reconcile/app"
)

// recordFile says, inside the folder of a built release, what it is. A
// folder without one was not finished.
const recordFile = "release.json"

// A record is one built release on disk.
type record struct {
	Name     app.Name
	Build    string // digest of everything the build read
	Recipe   string // digest of the recipe, whatever its source held
	Revision string
	Release  Release
	Built    time.Time
	Code     bool         // handed out as code folders
	Resolved []Dependency `json:",omitempty"` // what the build took from outside

	dir  string
	used time.Time // when the record was last written or asked for
}

func readRecord(dir string) (record, error) {
	file := filepath.Join(dir, recordFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return record{}, err
	}
	r := record{dir: dir}
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("read %s: %w", file, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return record{}, err
	}
	r.used = info.ModTime()
	return r, nil
}

// write replaces the record; it is there whole or as it was.
func (r record) write() error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the record of %s: %w", r.Name, err)
	}
	next := filepath.Join(r.dir, "."+recordFile)
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return fmt.Errorf("write the record of %s: %w", r.Name, err)
	}
	if err := os.Rename(next, filepath.Join(r.dir, recordFile)); err != nil {
		return fmt.Errorf("write the record of %s: %w", r.Name, err)
	}
	return nil
}

// release is the folder of the release itself, beside the record.
func (r record) release() string { return filepath.Join(r.dir, "release") }

// codePaths are the ebin folders of the applications that are not OTP's own.
func (r record) codePaths(o otp) (out []string) {
	for _, name := range r.Release.Apps {
		if !o.provides(name) {
			out = append(out, filepath.Join(r.release(), "lib", name, "ebin"))
		}
	}
	return out
}

func (r record) image(o otp, cached bool) Image {
	return Image{
		Name: r.Name, Digest: "sha256:" + r.Build, Revision: r.Revision, Release: r.Release,
		CodePaths: r.codePaths(o), Notes: notesOf(r.Resolved), Cached: cached, Built: r.Built,
	}
}

// code hands a built release out as code folders.
func (s *Store) code(b build) (Image, error) {
	r, err := readRecord(s.releaseDir(b))
	if err != nil {
		return Image{}, fmt.Errorf("read the release of %s: %w", b.recipe.Name, err)
	}
	if made := otpRelease(r.Release.ERTS); made != s.otp.release {
		return Image{}, fmt.Errorf("load %s into the host VM: %w: it was made for OTP %s, the host VM runs OTP %s", b.recipe.Name, ErrOTP, made, s.otp.release)
	}
	r.Code = true
	return r.image(s.otp, b.reused), r.write()
}

func (s *Store) listCode() ([]Image, error) {
	apps, err := filepath.Glob(s.path("releases", "*"))
	if err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	var out []Image
	for _, dir := range apps {
		all, err := s.releases(app.Name(filepath.Base(dir)))
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			if r.Code {
				out = append(out, r.image(s.otp, true))
			}
		}
	}
	return out, nil
}
