package store

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// maxBulk is how many entries IoT Hub takes in one bulk call.
const maxBulk = 100

// BulkResult is the hub's answer to a bulk call.
type BulkResult struct {
	IsSuccessful bool        `json:"isSuccessful"`
	Errors       []BulkError `json:"errors"`
	// Warnings stay empty: a device never lacks its twin here.
	Warnings []struct{} `json:"warnings"`
}

// BulkError says what became of one entry that failed.
type BulkError struct {
	DeviceID    string `json:"deviceId"`
	ModuleID    string `json:"moduleId,omitempty"`
	ErrorCode   int    `json:"errorCode"`
	ErrorStatus string `json:"errorStatus"`
}

// bulkEntry is what a bulk call wants of one device or module.
type bulkEntry struct {
	ID         string `json:"id"`
	ModuleID   string `json:"moduleId"`
	Etag       string `json:"eTag"`
	ImportMode string `json:"importMode"`
	TwinETag   string `json:"twinETag"`
	Tags       any    `json:"tags"`
	Properties any    `json:"properties"`
	identityBody
}

func (b bulkEntry) id() ID { return ID{Device: b.ID, Module: b.ModuleID} }

// Bulk applies a JSON array of entries, each by itself: those that fail do
// not keep the others from being applied. An error means that none were.
func (s *Store) Bulk(body []byte) (BulkResult, error) {
	var entries []bulkEntry
	if err := parseJSON(body, &entries); err != nil {
		return BulkResult{}, err
	}
	if len(entries) > maxBulk {
		return BulkResult{}, &Error{http.StatusRequestEntityTooLarge, 413002, "TooManyDevices",
			fmt.Sprintf("A bulk call should have maximum %d entries", maxBulk)}
	}
	seen := map[string]bool{}
	for _, entry := range entries {
		if _, _, err := entry.mode(); err != nil {
			return BulkResult{}, err
		}
		if seen[entry.ID] {
			// Two modules of one device are too many as well.
			return BulkResult{}, &Error{http.StatusBadRequest, 400011, "DeviceDefinedMultipleTimes", entry.ID}
		}
		seen[entry.ID] = true
	}
	result := BulkResult{IsSuccessful: true, Errors: []BulkError{}, Warnings: []struct{}{}}
	for _, entry := range entries {
		err := s.locked(func() error { return s.applyEntry(entry) })
		if refused, isRefused := errors.AsType[*Error](err); isRefused {
			result.IsSuccessful = false
			result.Errors = append(result.Errors, BulkError{
				DeviceID: entry.ID, ModuleID: entry.ModuleID, ErrorCode: refused.Number, ErrorStatus: refused.Text,
			})
		} else if err != nil {
			return BulkResult{}, err
		}
	}
	return result, nil
}

const (
	modeCreateOrUpdate = "createorupdate" // what import files mean when they say nothing
	modeCreate         = "create"
	modeUpdate         = "update"
	modeDelete         = "delete"
	modeUpdateTwin     = "updatetwin"

	conditionalSuffix = "ifmatchetag"
)

// mode reads the import mode: what to do, and whether an etag is a condition.
// SDKs differ in upper and lower case.
func (b bulkEntry) mode() (mode string, conditional bool, err error) {
	mode, conditional = strings.CutSuffix(strings.ToLower(b.ImportMode), conditionalSuffix)
	switch {
	case b.ImportMode == "":
		return modeCreateOrUpdate, false, nil
	case mode == modeCreate && !conditional,
		slices.Contains([]string{modeCreateOrUpdate, modeUpdate, modeDelete, modeUpdateTwin}, mode):
		return mode, conditional, nil
	}
	return "", false, badFormat("'importMode' should be create, createOrUpdate, createOrUpdateIfMatchETag, update, " +
		"updateIfMatchETag, delete, deleteIfMatchETag, updateTwin or updateTwinIfMatchETag")
}

// applyEntry runs in locked.
func (s *Store) applyEntry(b bulkEntry) error {
	mode, conditional, err := b.mode()
	if err != nil {
		return err
	}
	ifMatch := "*"
	if conditional {
		ifMatch = b.Etag
	}
	switch mode {
	case modeDelete:
		return s.remove(b.id(), ifMatch)
	case modeUpdateTwin:
		return s.bulkTwin(b, conditional)
	}
	wanted, err := b.identity(b.id())
	if err != nil {
		return err
	}
	if mode == modeCreate || mode == modeCreateOrUpdate && s.lookup(wanted.id) == nil {
		content, err := b.content()
		if err != nil {
			return err
		}
		_, err = s.create(wanted, creation{content: content, bulk: true})
		return err
	}
	if _, err := s.update(wanted, ifMatch); err != nil {
		return err
	}
	// The hub takes the twin's part by itself, with its own etag if one is given.
	return s.bulkTwin(b, b.TwinETag != "")
}

func (s *Store) bulkTwin(b bulkEntry, conditional bool) error {
	found, err := s.findIdentity(b.id())
	if err != nil {
		return err
	}
	if conditional && !etagMatches(b.TwinETag, found.twin.etag()) {
		return preconditionFailed("ETag mismatch for device ID '" + b.ID + "'")
	}
	content, err := b.content()
	if err != nil {
		return err
	}
	return s.writeTwin(found, content, patchTwin)
}

// content is the twin's part of an entry; null stands for nothing here.
func (b bulkEntry) content() (twindoc.Change, error) {
	document := map[string]any{}
	if b.Tags != nil {
		document["tags"] = b.Tags
	}
	if b.Properties != nil {
		document["properties"] = b.Properties
	}
	content, err := twindoc.ChangeOf(document, twindoc.RefuseNullTags)
	return content, documentRefusal(err)
}
