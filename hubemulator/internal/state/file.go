package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// The files in a data directory that this package looks after.
const (
	FileName = "state.jsonl"
	lockName = "state.lock"
)

// File is the state of one hub in its data directory.
type File struct {
	path string
	lock *flock.Flock
}

// Open keeps other hubs out of a directory until Close.
func Open(dir string) (*File, error) {
	lock := flock.New(filepath.Join(dir, lockName))
	free, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("the data directory cannot be locked: %w", err)
	}
	if !free {
		return nil, fmt.Errorf("the data directory %s is in use by another hub; stop that one, or choose another directory", dir)
	}
	f := &File{path: filepath.Join(dir, FileName), lock: lock}
	if err := f.tidy(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// tidy removes what a hub left that was killed while it saved.
func (f *File) tidy() error {
	dir := filepath.Dir(f.path)
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if left, _ := filepath.Match(unfinished(FileName), entry.Name()); left {
			err = errors.Join(err, os.Remove(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

// Close lets other hubs have the directory.
func (f *File) Close() error { return f.lock.Close() }

// Load gives every record of the last Save back to its part. It reports
// whether there was one. After an error, what the records went into is of no
// use.
func (f *File) Load(parts []Part) (bool, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the state of the hub cannot be read: %w", err)
	}
	err = read(file, parts)
	// It was only read: there is nothing that closing it could lose.
	_ = file.Close()
	switch {
	case errors.Is(err, errNewer):
		err = fmt.Errorf("the state file %s cannot be used: %w; start the hubemulator that did, or move the file away for an empty hub", f.path, err)
	case err != nil:
		err = fmt.Errorf("the state file %s is damaged: %w; put a good copy in its place, or move the file away for an empty hub", f.path, err)
	}
	return err == nil, err
}

// Save replaces the file. Whatever happens meanwhile, the file under its name
// is either the one before or the new one, and whole.
func (f *File) Save(parts []Part) error {
	return Replace(f.path, 0o600, func(w io.Writer) error { return write(w, parts) })
}

// Replace writes a file anew, and gives it its name once it is on the disk.
func Replace(path string, mode os.FileMode, content func(io.Writer) error) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, unfinished(filepath.Base(path)))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	err = errors.Join(file.Chmod(mode), content(file))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Join(err, os.Remove(file.Name())))
	}
	return syncDirectory(dir)
}

// unfinished is the pattern of the names that files have while they are
// written.
func unfinished(name string) string { return "." + name + ".*.new" }

// syncDirectory makes a new name last.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("writing to the disk: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
