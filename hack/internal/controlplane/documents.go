package controlplane

import "bytes"

// SplitDocuments splits a YAML stream, leaving out documents with no content.
func SplitDocuments(stream []byte) [][]byte {
	var documents [][]byte
	for _, document := range bytes.Split(append([]byte("\n"), stream...), []byte("\n---")) {
		for line := range bytes.Lines(document) {
			if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' {
				documents = append(documents, document)
				break
			}
		}
	}
	return documents
}
