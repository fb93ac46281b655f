package conformance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
)

// supports returns an error, in one line, if a package is not made for this version of Node.
func supports(packages map[string]lockedPackage, version string) error {
	node, err := semver.NewVersion(version)
	if err != nil {
		return fmt.Errorf("node --version printed %q: %w", version, err)
	}
	var refusing []string
	for _, folder := range slices.Sorted(maps.Keys(packages)) {
		wanted := packages[folder].node()
		if wanted == "" {
			continue
		}
		constraint, err := semver.NewConstraint(wanted)
		if err != nil {
			return fmt.Errorf("%s: engines.node: %w", folder, err)
		}
		if !constraint.Check(node) {
			refusing = append(refusing, strings.TrimPrefix(folder, "node_modules/")+" needs "+wanted)
		}
	}
	if len(refusing) == 0 {
		return nil
	}
	return fmt.Errorf("the installed Node %s is not supported by Microsoft's packages: %s (%d such packages): install one that README.md names",
		version, refusing[0], len(refusing))
}

func TestANodeThatIsTooOldIsNamed(t *testing.T) {
	t.Parallel()
	packages, err := readLock(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"v18.20.8": "the installed Node v18.20.8 is not supported by Microsoft's packages: @azure/",
		"none":     `node --version printed "none"`,
	} {
		err := supports(packages, version)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line that begins with %s", version, err, want)
		}
	}
}

// TestDocumentedNodesAreSupported by each locked package, and named alike wherever they are.
func TestDocumentedNodesAreSupported(t *testing.T) {
	t.Parallel()
	packages, err := readLock(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`Node (\d+) or (\d+)`)
	for _, page := range []string{"README.md", "CONTRIBUTING.md", "docs/emulator.md"} {
		text, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		found := named.FindStringSubmatch(string(text))
		if found == nil || found[1] != "22" || found[2] != "24" {
			t.Errorf("%s names %v, want Node 22 or 24", page, found)
			continue
		}
		for _, major := range found[1:] {
			if err := supports(packages, "v"+major+".0.0"); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// TestPackageJSONAsksForNode as the strictest of the locked packages does, so that npm warns as well.
func TestPackageJSONAsksForNode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(nodeDir, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var own lockedPackage
	if err := json.Unmarshal(text, &own); err != nil {
		t.Fatal(err)
	}
	packages, err := readLock(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	lowest := strings.TrimPrefix(own.node(), ">=")
	if err := supports(packages, lowest); err != nil {
		t.Errorf("engines.node of package.json is %q: %v", own.node(), err)
	}
}
