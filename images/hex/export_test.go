package hex

// ReadPackage reads a payload whose signature was verified.
func ReadPackage(b []byte) (Package, error) { return (&packageReader{}).read(b) }
