package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// PageSelection asks for one page of the twins that satisfy a condition.
type PageSelection struct {
	Selection
	// Columns to answer with; whole twins where there are none. The ids are there in any case.
	Columns *query.Projection
	// Rows is the most that the page may have; 0 is for as many as IoT Hub serves.
	Rows int
	// Continue is that of the page before; empty for the first.
	Continue string
}

// Page is one page of an answer.
type Page struct {
	Rows []Row
	// Continue asks for the next page; empty after the last one.
	Continue string
	// Bytes of the answer, which are billed.
	Bytes int
	// Unreadable counts the rows that were left out.
	Unreadable int
}

// TwinPage is one page of whole twins.
type TwinPage struct {
	Twins []*Twin
	// Continue asks for the next page; empty after the last one.
	Continue string
}

// Row is a twin with what was selected of it, as the hub spells it. Numbers are json.Number.
type Row struct {
	ID       ID
	Document map[string]any
}

// TooLong tells whether an answer was longer than can be read: less has to be asked for.
func TooLong(err error) bool { return errors.Is(err, errTooLong) }

// FindPage implements Index.
func (s *session) FindPage(ctx context.Context, selection PageSelection) (page Page, err error) {
	ex := &exchange{op: opQuery, rows: selection.Rows, from: selection.Continue}
	decode := byID(func(row jsontext.Value, id ID) (Row, error) { return decodeColumns(row, id, selection.Columns) })
	page.Rows, page.Continue, err = onePageOf(ctx, s, ex, selection, decode, func(Unreadable) { page.Unreadable++ })
	if err != nil {
		return Page{}, err
	}
	if page.Rows != nil { // an answer without rows costs nothing that is told
		page.Bytes = len(ex.body)
	}
	return page, nil
}

// onePageOf reads one page of the twins that satisfy a condition, and how to ask for the next one.
func onePageOf[T any](
	ctx context.Context, s *session, ex *exchange, selection PageSelection, decode rowDecoder[T], unreadable func(Unreadable),
) (rows []T, next string, err error) {
	text, err := s.pageQuery(ex, selection)
	if err != nil {
		return nil, "", err
	}
	err = s.pagesOf(ctx, ex, text, func(page []jsontext.Value) error {
		if rows, err = usable(page, selection.From, decode, s.unreadable(unreadable)); err != nil {
			return s.unexpected(ex, err.Error())
		}
		next = ex.header.Get(continuationHeader)
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, "", err
	}
	return rows, next, nil
}

// FindTwinPage implements Documents.
func (s *session) FindTwinPage(ctx context.Context, selection Selection, next string) (page TwinPage, err error) {
	for {
		ex := &exchange{op: opQuery, rows: s.documents.get(), from: next}
		page.Twins, page.Continue, err = onePageOf(ctx, s, ex, PageSelection{Selection: selection}, decodeRow, nil)
		if errors.Is(err, errTooLong) && s.documents.shrink(ex.rows) {
			continue
		}
		if err == nil {
			s.documents.grow(ex.rows)
		}
		return page, err
	}
}

func (s *session) pageQuery(ex *exchange, selection PageSelection) (string, error) {
	ids, known := selectedIDs[selection.From]
	if !known {
		return "", s.refused(ex, fmt.Sprintf("%q is no source of twins", selection.From))
	}
	if strings.TrimSpace(selection.Where) == "" {
		return "", s.refused(ex, "the condition is empty")
	}
	return columnsQuery(ids, selection), nil
}

func columnsQuery(ids string, selection PageSelection) string {
	columns := "*"
	if selection.Columns != nil && !selection.Columns.Whole() {
		columns = ids + ", " + selection.Columns.Columns()
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE (%s)", columns, selection.From, selection.Where)
}

// decodeColumns reads a row with the columns as they stand in a twin.
func decodeColumns(row jsontext.Value, id ID, columns *query.Projection) (Row, error) {
	var document members
	if err := decode(row, &document); err != nil {
		return Row{}, errors.New("a row of the query's answer is no object")
	}
	if columns != nil && !columns.Whole() {
		document = columns.Place(document)
	}
	document["deviceId"] = id.Device
	if id.Module != "" {
		document["moduleId"] = id.Module
	}
	return Row{ID: id, Document: document}, nil
}

// PageQueryLength is how many characters the query of a page takes; IoT Hub takes
// query.MaxLength.
func PageQueryLength(from Source, columns *query.Projection, where string) int {
	if from == "" {
		from = Devices
	}
	selection := PageSelection{Selection: Selection{From: from, Where: where}, Columns: columns}
	return utf8.RuneCountInString(columnsQuery(selectedIDs[from], selection))
}
