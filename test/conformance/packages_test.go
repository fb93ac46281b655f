package conformance_test

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	installTimeout = 5 * time.Minute
	// shownDeviations bounds how many files a failure names.
	shownDeviations = 10
)

func lookPathOrSkip(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: the SDK conformance suites need Node with npm", program)
	}
	return path
}

// supportedNodeOrSkip returns where Node is. One that the packages are not made for fails the test.
func supportedNodeOrSkip(t *testing.T) string {
	t.Helper()
	node := lookPathOrSkip(t, "node")
	output, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Fatalf("%s --version: %v", node, err)
	}
	packages, err := readLock(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := supports(packages, strings.TrimSpace(string(output))); err != nil {
		t.Fatal(err)
	}
	return node
}

// installPackages has exactly what the lock file names on disk: what is there
// already, if it is that, else a fresh install.
func installPackages(t *testing.T, npm string) {
	t.Helper()
	switch found, err := deviations(nodeDir); {
	case err == nil && len(found) == 0:
		return
	case err == nil:
		t.Logf("the installed packages are not those of the lock file: installing again%s", listed(found))
	case !errors.Is(err, fs.ErrNotExist):
		t.Logf("the installed packages cannot be checked: installing again: %v", err)
	}
	// Install scripts are of no use to these packages and are not run.
	run(t, npm, "ci", "--include=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error")
	if err := keepTarballs(nodeDir, strings.TrimSpace(run(t, npm, "config", "get", "cache"))); err != nil {
		t.Fatalf("keep the packages as they were served: %v", err)
	}
	checkPackages(t)
}

// checkPackages fails the test if a file of an installed package is not the one
// that the lock file's hash of the package vouches for.
func checkPackages(t *testing.T) {
	t.Helper()
	found, err := deviations(nodeDir)
	if err != nil {
		t.Fatalf("check the installed packages: %v", err)
	}
	if len(found) > 0 {
		t.Fatalf("the installed packages are not those of the lock file:%s", listed(found))
	}
}

func listed(found []string) string {
	return "\n\t" + strings.Join(found[:min(len(found), shownDeviations)], "\n\t")
}

// run runs a program in the suites' folder and returns what it printed.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = nodeDir
	cmd.WaitDelay = 5 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, output, stderr.String())
	}
	return string(output)
}
