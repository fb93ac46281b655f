package conformance_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// oldestNode is the first release line whose test runner has the JUnit
	// reporter and a timeout for every case.
	oldestNode     = 20
	installTimeout = 5 * time.Minute
	// installStamp records which lock file was installed and what came of it.
	installStamp = ".installed.json"
)

// installation describes a finished install, so that it is done once and a
// package that was edited afterwards is noticed.
type installation struct {
	LockSHA256 string `json:"lockSHA256"`
	TreeSHA256 string `json:"treeSHA256"`
}

func lookPathOrSkip(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: the SDK conformance suites need Node %d or newer with npm", program, oldestNode)
	}
	return path
}

func nodeOrSkip(t *testing.T) string {
	t.Helper()
	node := lookPathOrSkip(t, "node")
	output, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", node, err)
	}
	version := strings.TrimSpace(string(output))
	major, err := strconv.Atoi(strings.Split(strings.TrimPrefix(version, "v"), ".")[0])
	if err != nil {
		t.Fatalf("%s --version printed %q", node, version)
	}
	if major < oldestNode {
		t.Skipf("Node %s is too old: the SDK conformance suites need %d or newer", version, oldestNode)
	}
	return node
}

// installPackages installs exactly what the lock file names. npm checks every
// package against the hash in the lock file; what is on disk is compared with
// what that install left before each run.
func installPackages(t *testing.T, npm string) {
	t.Helper()
	lock := lockHash(t)
	if intact(t, lock) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	// Install scripts are of no use to these packages and are not run.
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--prefer-offline",
		"--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = nodeDir
	cmd.WaitDelay = 5 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, output)
	}
	tree, err := treeHash(filepath.Join(nodeDir, "node_modules"))
	if err != nil {
		t.Fatalf("hash the installed packages: %v", err)
	}
	stamp, err := json.Marshal(installation{LockSHA256: lock, TreeSHA256: tree})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stampPath(), stamp, 0o600); err != nil {
		t.Fatal(err)
	}
}

// intact reports whether the packages on disk are those of the lock file, as
// they were installed.
func intact(t *testing.T, lock string) bool {
	t.Helper()
	content, err := os.ReadFile(stampPath())
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	var was installation
	if err := json.Unmarshal(content, &was); err != nil || was.LockSHA256 != lock {
		return false
	}
	tree, err := treeHash(filepath.Join(nodeDir, "node_modules"))
	if err != nil {
		t.Fatalf("hash the installed packages: %v", err)
	}
	if tree != was.TreeSHA256 {
		t.Log("the installed packages were changed after npm installed them: installing again")
	}
	return tree == was.TreeSHA256
}

func stampPath() string { return filepath.Join(nodeDir, "node_modules", installStamp) }

func lockHash(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// treeHash hashes names and contents of all files below root, in order, its
// own stamp aside.
func treeHash(root string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path == stampPath() {
			return err
		}
		if _, err := fmt.Fprintf(sum, "%s\x00", path); err != nil {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(sum, "%s\x00", target)
			return err
		}
		return addFile(sum, path)
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

func addFile(w io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	_, err = io.Copy(w, file)
	return err
}

// TestLockFile: without a hash in the lock file npm would install whatever the
// registry serves.
func TestLockFile(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct {
			Version   string `json:"version"`
			Integrity string `json:"integrity"`
			Link      bool   `json:"link"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(content, &lock); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"node_modules/azure-iothub":          "1.16.6",
		"node_modules/azure-iot-device":      "1.18.4",
		"node_modules/azure-iot-device-mqtt": "1.16.4",
	}
	for name, version := range want {
		if got := lock.Packages[name].Version; got != version {
			t.Errorf("%s is locked at %q, want %q", name, got, version)
		}
	}
	for name, entry := range lock.Packages {
		if name != "" && (entry.Link || !strings.HasPrefix(entry.Integrity, "sha512-")) {
			t.Errorf("%s has no sha512 integrity in the lock file", name)
		}
	}
}

func TestTreeHashSeesAnEdit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "index.js")
	hashOf := func(content string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		sum, err := treeHash(dir)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	before, after := hashOf("1"), hashOf("2")
	if before == after {
		t.Error("an edited file left the hash alone")
	}
}
