package hex

import "io"

// ReadPackage reads a payload whose signature was verified.
func ReadPackage(b []byte) (Package, error) { return (&packageReader{}).read(b) }

// VerifySigned is Verify behind the compression.
func (r *Repository) VerifySigned(b []byte, name string) (Package, error) { return r.verify(b, name) }

// WalkTar is Walk behind the checksums and the compression.
func WalkTar(from io.Reader, do func(File, io.Reader) error) error { return walkTar(from, do) }
