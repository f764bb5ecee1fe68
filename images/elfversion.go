package images

import (
	"debug/elf"
	"fmt"
	"slices"
)

// versionNeeds is which versions of the symbols of each library a file needs
// (.gnu.version_r, "Symbol Versioning" of the Linux Standard Base). Those that
// it can do without are left out.
func versionNeeds(f *elf.File) (map[string][]string, error) {
	if f.SectionByType(elf.SHT_GNU_VERNEED) == nil {
		return nil, nil
	}
	all, err := f.DynamicVersionNeeds()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, n := range all {
		for _, v := range n.Needs {
			if v.Flags&elf.VER_FLG_WEAK == 0 {
				out[n.Name] = append(out[n.Name], v.Dep)
			}
		}
	}
	return out, nil
}

// provides says which of the versions the library does not have: a program
// that was made for a newer one would end as soon as it is started.
func provides(library string, versions []string) error {
	if len(versions) == 0 {
		return nil
	}
	f, err := elf.Open(library)
	if err != nil {
		return fmt.Errorf("read the versions of %s: %w", library, err)
	}
	defer f.Close() //nolint:errcheck // opened to read
	if f.SectionByType(elf.SHT_GNU_VERDEF) == nil {
		return nil // ld.so takes any of its symbols, and says so
	}
	all, err := f.DynamicVersions()
	if err != nil {
		return fmt.Errorf("read the versions of %s: %w", library, err)
	}
	for _, want := range versions {
		if !slices.ContainsFunc(all, func(v elf.DynamicVersion) bool { return v.Name == want }) {
			return fmt.Errorf("%s lacks version %s, which the file was made for: make the release on a system like this one, or bring it as an image with its own libraries", library, want)
		}
	}
	return nil
}
