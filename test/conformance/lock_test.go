package conformance_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tarballs is the folder below node_modules that keeps every package as the
// registry served it, named by its SHA-512 in hexadecimal digits.
const tarballs = ".tarballs"

// lockedPackage is what the lock file says of a package.
type lockedPackage struct {
	Version   string `json:"version"`
	Integrity string `json:"integrity"`
	Link      bool   `json:"link"`
	// Engines is an object, or in packages of long ago a list.
	Engines any `json:"engines"`
}

// node returns the versions of Node that the package says it is made for; empty where it says nothing.
func (p lockedPackage) node() string {
	switch engines := p.Engines.(type) {
	case map[string]any:
		if node, ok := engines["node"].(string); ok {
			return node
		}
	case []any:
		for _, engine := range engines {
			if text, ok := engine.(string); ok && strings.HasPrefix(text, "node ") {
				return strings.TrimPrefix(text, "node ")
			}
		}
	}
	return ""
}

// sum returns the SHA-512 that the package's tarball must have.
func (p lockedPackage) sum() ([]byte, error) {
	encoded, ok := strings.CutPrefix(p.Integrity, "sha512-")
	if !ok || p.Link {
		return nil, fmt.Errorf("has no sha512 integrity in the lock file, but %q", p.Integrity)
	}
	return base64.StdEncoding.DecodeString(encoded)
}

// readLock returns the packages of a lock file by the folders they belong in.
func readLock(file string) (map[string]lockedPackage, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lock struct {
		Packages map[string]lockedPackage `json:"packages"`
	}
	if err := json.Unmarshal(content, &lock); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	delete(lock.Packages, "") // the suites' own folder
	if len(lock.Packages) == 0 {
		return nil, fmt.Errorf("%s names no package", file)
	}
	return lock.Packages, nil
}

type contentSum [sha256.Size]byte

// deviations compares the packages in dir with the lock file there. Each file
// has to be what the tarball holds whose hash the lock file names, and no other
// file may be there. It returns what is not so.
func deviations(dir string) ([]string, error) {
	packages, err := readLock(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return nil, err
	}
	want := map[string]contentSum{}
	for folder, locked := range packages {
		if err := addFiles(want, dir, folder, locked); err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}
	}
	have, err := installedFiles(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for file, sum := range want {
		if got, ok := have[file]; !ok {
			found = append(found, file+" is missing")
		} else if got != sum {
			found = append(found, file+" was changed")
		}
		delete(have, file)
	}
	for file := range have {
		found = append(found, file+" is in no package")
	}
	slices.Sort(found)
	return found, nil
}

// addFiles adds the files of a package, by their paths below dir.
func addFiles(files map[string]contentSum, dir, folder string, locked lockedPackage) error {
	sum, err := locked.sum()
	if err != nil {
		return err
	}
	tarball, err := os.ReadFile(filepath.Join(dir, "node_modules", tarballs, hex.EncodeToString(sum)))
	if err != nil {
		return err
	}
	if got := sha512.Sum512(tarball); !bytes.Equal(got[:], sum) {
		return errors.New("the tarball does not have the lock file's hash")
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return err
	}
	reader := tar.NewReader(unzipped)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		_, name, _ := strings.Cut(header.Name, "/") // below the tarball's only folder
		hash := sha256.New()
		if _, err := io.Copy(hash, io.LimitReader(reader, header.Size)); err != nil {
			return err
		}
		files[path.Join(folder, name)] = contentSum(hash.Sum(nil))
	}
}

// installedFiles returns the files below dir's node_modules, but npm's own: its
// record of the tree, its links to programs, and the tarballs.
func installedFiles(dir string) (map[string]contentSum, error) {
	files := map[string]contentSum{}
	root := filepath.Join(dir, "node_modules")
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if file == filepath.Join(root, tarballs) || entry.Name() == ".bin" {
			return fs.SkipDir
		}
		if entry.IsDir() || file == filepath.Join(root, ".package-lock.json") {
			return nil
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)] = sha256.Sum256(content)
		return nil
	})
	return files, err
}

// keepTarballs copies the tarballs of the packages in dir out of npm's cache,
// where they are found by their hashes.
func keepTarballs(dir, npmCache string) error {
	packages, err := readLock(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	kept := filepath.Join(dir, "node_modules", tarballs)
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err
	}
	for folder, locked := range packages {
		sum, err := locked.sum()
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		name := hex.EncodeToString(sum)
		content, err := os.ReadFile(filepath.Join(npmCache, "_cacache", "content-v2", "sha512", name[:2], name[2:4], name[4:]))
		if err != nil {
			return fmt.Errorf("%s is not in npm's cache: %w", folder, err)
		}
		if err := os.WriteFile(filepath.Join(kept, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TestLockFile: without a hash in the lock file npm would install whatever the
// registry serves.
func TestLockFile(t *testing.T) {
	t.Parallel()
	packages, err := readLock(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"node_modules/azure-iothub":          "1.16.6",
		"node_modules/azure-iot-device":      "1.18.4",
		"node_modules/azure-iot-device-mqtt": "1.16.4",
	}
	for folder, version := range want {
		if got := packages[folder].Version; got != version {
			t.Errorf("%s is locked at %q, want %q", folder, got, version)
		}
	}
	for folder, locked := range packages {
		if _, err := locked.sum(); err != nil {
			t.Errorf("%s %v", folder, err)
		}
	}
}

// install puts a package with one file, its lock file and its tarball into a
// folder, as npm and keepTarballs do.
func install(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tarball := tarballOf(t, "package/lib/index.js", "module.exports = 1;\n")
	sum := sha512.Sum512(tarball)
	lock, err := json.Marshal(map[string]any{"packages": map[string]any{
		"":                 map[string]any{},
		"node_modules/sdk": lockedPackage{Integrity: "sha512-" + base64.StdEncoding.EncodeToString(sum[:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "package-lock.json", string(lock))
	put(t, dir, "node_modules/.package-lock.json", "{}")
	put(t, dir, "node_modules/.bin/sdk", "#!/bin/sh")
	put(t, dir, "node_modules/sdk/lib/index.js", "module.exports = 1;\n")
	put(t, dir, "cache/_cacache/content-v2/sha512/"+cached(sum), string(tarball))
	if err := keepTarballs(dir, filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func cached(sum [sha512.Size]byte) string {
	name := hex.EncodeToString(sum[:])
	return name[:2] + "/" + name[2:4] + "/" + name[4:]
}

func tarballOf(t *testing.T, name, content string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	writer := tar.NewWriter(zipped)
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(content))}
	if err := writer.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDeviations(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(dir string)
		want   []string
	}{
		"as installed": {func(string) {}, nil},
		"a changed file": {
			func(dir string) { put(t, dir, "node_modules/sdk/lib/index.js", "module.exports = 2;\n") },
			[]string{"node_modules/sdk/lib/index.js was changed"},
		},
		"a missing file": {
			func(dir string) { os.Remove(filepath.Join(dir, "node_modules/sdk/lib/index.js")) },
			[]string{"node_modules/sdk/lib/index.js is missing"},
		},
		"a file too many": {
			func(dir string) { put(t, dir, "node_modules/sdk/lib.js", "") },
			[]string{"node_modules/sdk/lib.js is in no package"},
		},
		"a package that hides another": {
			func(dir string) { put(t, dir, "node_modules/sdk/node_modules/mqtt/index.js", "") },
			[]string{"node_modules/sdk/node_modules/mqtt/index.js is in no package"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := install(t)
			c.change(dir)
			got, err := deviations(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("deviations (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTarballIsHeldAgainstTheLockFile: an edited package is not excused by an
// edited tarball.
func TestTarballIsHeldAgainstTheLockFile(t *testing.T) {
	t.Parallel()
	dir := install(t)
	kept, err := filepath.Glob(filepath.Join(dir, "node_modules", tarballs, "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %v: %v", kept, err)
	}
	const edited = "module.exports = 2;\n"
	put(t, dir, "node_modules/sdk/lib/index.js", edited)
	if err := os.WriteFile(kept[0], tarballOf(t, "package/lib/index.js", edited), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := deviations(dir); err == nil || !strings.Contains(err.Error(), "does not have the lock file's hash") {
		t.Errorf("got %v, want a refusal of the tarball", err)
	}
}
