package images

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Held is how much all images together hold, as bound counts it.
func (s *Store) Held(ctx context.Context) (int64, error) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return 0, err
	}
	return s.usage(ctx, all).total, nil
}

// WriteImage keeps an image of the machine's sh, if it is wanted, and of
// scripts in /usr/bin, and returns its name.
func (s *Store) WriteImage(ctx context.Context, sh bool, scripts map[string]string) (string, error) {
	t := tree{}
	t.addMerged()
	addEtc(t)
	for _, dir := range []string{"build", "tmp", "proc", "dev", "run"} {
		t.addDir(dir)
	}
	for name, text := range scripts {
		t.addData("usr/bin/"+name, 0o755, []byte("#!/usr/bin/sh\n"+text+"\n"))
	}
	if sh {
		if err := t.addFile("usr/bin/sh", "/bin/sh"); err != nil {
			return "", err
		}
		if err := t.closure(t.sources()...); err != nil {
			return "", err
		}
	}
	const ref = refPrefix + "written:1"
	_, err := s.depot.write(ctx, ref, unpacked{trees: []tree{t}, config: v1.Config{}, media: types.OCILayer}, map[string]string{labelPulled: "by a test"})
	return ref, err
}

// BuilderNeeds are the programs that a builder image must hold.
func BuilderNeeds() []string { return builderNeeds() }
