package store

import (
	"errors"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// documentRefusal words an error of twindoc as the hub does.
func documentRefusal(err error) error {
	refused, isRefusal := errors.AsType[*twindoc.Error](err)
	switch {
	case !isRefusal:
		return err
	case refused.Malformed:
		return badFormat("%s", refused.Text)
	default:
		return invalidArgument("%s", refused.Text)
	}
}

func parseJSON(text []byte, into any) error {
	return documentRefusal(twindoc.ParseJSON(text, into))
}

func parseContent(text []byte) (map[string]any, error) {
	content, err := twindoc.ParseContent(text)
	return content, documentRefusal(err)
}

func checkContent(content map[string]any) error {
	return documentRefusal(twindoc.CheckContent(content))
}

func (c Choices) parseChange(body []byte) (twindoc.Change, error) {
	wanted, err := twindoc.ParseChange(body, c.NullTags)
	return wanted, documentRefusal(err)
}

func checkChange(wanted twindoc.Change) error {
	return documentRefusal(wanted.Check())
}

// writing is a write of a twin at a time. It may be used while the store's lock
// is held, which guards what twins share.
func (s *Store) writing(at time.Time, version int64) twindoc.Write {
	return twindoc.NewWrite(at, version, s.common)
}
