package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// entry is a file of a layer, or a folder if its name ends with a slash. It is root's unless it has another owner.
type entry struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

// layer is a gzipped layer of these entries, in their order, with one time for all.
func layer(entries []entry, created time.Time) (v1.Layer, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, e := range entries {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.content)),
			Uid: e.owner, Gid: e.owner, ModTime: created, Format: tar.FormatPAX,
		}
		if strings.HasSuffix(e.name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching)
}

// base is below every program: CA roots where Go, OpenSSL and users who add their own look for them, a name for the
// user, a folder for temporary files, and the licence. Time zones are within the programs.
func base(license []byte) []entry {
	return []entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\nnonroot:x:65532:\n")},
		{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: roots()},
		{name: "licenses/", mode: 0o755},
		{name: "licenses/LICENSE", mode: 0o644, content: license},
		{name: "tmp/", mode: 0o1777},
	}
}

// roots are Mozilla's CA roots, in PEM. They come from a Go module, so that go.sum pins them; those on the machine that
// builds would differ from one to the next. A root that is trusted with a constraint is left out: PEM cannot say it.
func roots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return out.Bytes()
}

// own is what an image holds of its program.
func own(p program, binary []byte) []entry {
	entries := []entry{{name: p.name, mode: 0o755, content: binary}}
	if p.data != "" {
		entries = append(entries, entry{name: strings.TrimPrefix(p.data, "/") + "/", mode: 0o700, owner: userID})
	}
	return entries
}
