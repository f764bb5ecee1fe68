package hex

import "errors"

// What can be wrong with a repository or a package; errors.Is tells which.
var (
	// ErrUnreachable: no answer, or one that says the server cannot (5xx).
	ErrUnreachable = errors.New("the repository is unreachable")
	// ErrDenied: the repository wants another token, or one at all.
	ErrDenied = errors.New("the repository denies access: check its auth token")
	// ErrNotFound: the repository has nothing under that name.
	ErrNotFound = errors.New("the repository has no such package")
	// ErrNoVersion: the package has no such release.
	ErrNoVersion = errors.New("the package has no such version")
	// ErrSignature: the answer is not signed with the configured key.
	ErrSignature = errors.New("the signature is not by the repository's configured key")
	// ErrRepository: the signed answer is another repository's.
	ErrRepository = errors.New("the answer is signed for another repository")
	// ErrPackage: the answer is about another package, or the name is none.
	ErrPackage = errors.New("the package name is wrong")
	// ErrChecksum: the bytes are not those that were signed.
	ErrChecksum = errors.New("the checksum does not match")
	// ErrTooLarge: more bytes, files or entries than allowed.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed: not the format it should be.
	ErrMalformed = errors.New("malformed")
	// ErrUnsafe: an archive entry that must not be unpacked.
	ErrUnsafe = errors.New("unsafe archive entry")
)
