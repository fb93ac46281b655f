package lint

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"

	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// The parts of SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/, that code scanning of Git forges reads.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               Rule      `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    Rule            `json:"ruleId"`
		Level     Severity        `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		PhysicalLocation sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		ArtifactLocation sarifArtifact `json:"artifactLocation"`
		Region           sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
)

// writeSARIF writes findings for code scanning.
func writeSARIF(out io.Writer, findings []Finding) error {
	run := sarifRun{Results: []sarifResult{}, Tool: sarifTool{Driver: sarifDriver{
		Name: "kubectl-twin lint", Version: version.Get(), InformationURI: "https://github.com/devicetwin-io/devicetwin-operator",
	}}}
	for _, rule := range rules() {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: rule, ShortDescription: sarifText{rule.describe()}})
	}
	for _, f := range findings {
		result := sarifResult{RuleID: f.Rule, Level: f.Severity, Message: sarifText{f.Message}}
		if f.Object != "" {
			result.Message.Text = f.Object + ": " + f.Message
		}
		address := url.URL{Path: filepath.ToSlash(f.File)}
		result.Locations = []sarifLocation{{sarifPhysical{sarifArtifact{address.String()}, sarifRegion{f.Line, f.Column}}}}
		run.Results = append(run.Results, result)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	})
}
