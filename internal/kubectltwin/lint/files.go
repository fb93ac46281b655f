package lint

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// stdin is the file name that stands for standard input, and how findings call it.
const (
	stdin     = "-"
	stdinName = "stdin"
)

// extensions are those of files in folders that are read.
func extensions() []string { return []string{".yaml", ".yml", ".json"} }

// files are those that paths name: files themselves, and of folders what has an extension of manifests.
func files(paths []string, recursive bool) ([]string, error) {
	var out []string
	for _, path := range paths {
		if path == stdin {
			out = append(out, stdin)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, path)
			continue
		}
		found, err := folder(path, recursive)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: there is no .yaml, .yml or .json file in this folder; -R looks into those below", path)
		}
		out = append(out, found...)
	}
	return out, nil
}

func folder(root string, recursive bool) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && !recursive:
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains(extensions(), filepath.Ext(path)):
			out = append(out, path)
		}
		return nil
	})
	return out, err
}

// read returns what a file holds, and how findings call it.
func read(path string, in io.Reader) (name string, text []byte, err error) {
	if path == stdin {
		text, err = io.ReadAll(in)
		return stdinName, text, err
	}
	text, err = os.ReadFile(path)
	return path, text, err
}
