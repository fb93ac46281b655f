package hub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Unreadable is a row of a query's answer that cannot be used: it is left out, and all others are used.
type Unreadable struct {
	// ID is zero where the row tells none, or one that no request can carry.
	ID ID
	// Name is the id as the row spells it, for people to find it by; empty where it tells none.
	Name string
	// Why says what is wrong with it, without its content.
	Why string
}

// pages runs a query and shows the rows of each page, out of the answer itself like answeredTwin. An error of show ends
// it and is returned. Where a page would be larger than can be read it begins anew with smaller ones, so that rows may
// be shown twice.
func (s *session) pages(ctx context.Context, ex *exchange, text string, rows *pageRows, show func(page []jsontext.Value) error) error {
	for {
		ex.rows = rows.get()
		err := s.pagesOf(ctx, ex, text, show)
		switch {
		case err == nil:
			rows.grow(ex.rows)
		case errors.Is(err, errTooLong) && rows.shrink(ex.rows):
			continue
		}
		return err
	}
}

func (s *session) pagesOf(ctx context.Context, ex *exchange, text string, show func(page []jsontext.Value) error) error {
	shown, rows := ex.answers, 0
	var stopped error
	err := s.client.QueryDevices(withExchange(ctx, ex), text, func(map[string]any) error {
		if shown == ex.answers {
			return nil // of a page that was shown
		}
		shown = ex.answers
		var page []jsontext.Value
		if decode(ex.body, &page) != nil {
			stopped = s.unexpected(ex, "it is not a page of rows")
			return stopped
		}
		if rows += len(page); rows > maxDevices {
			stopped = s.unexpected(ex, fmt.Sprintf("the query's answer lists more than %d twins", maxDevices))
			return stopped
		}
		stopped = show(page)
		return stopped
	})
	if err == nil || stopped != nil {
		return stopped
	}
	return s.failure(ctx, ex, err)
}

// onePage stands for any page in what the library is given of an answer. It would decode the rows into a model of its
// own, which refuses a whole page for one number that is larger than a float64.
const onePage = "[{}]"

// pageRows is how many rows a page of some query may have. The zero value is as many as IoT Hub serves.
type pageRows struct{ fewer atomic.Int64 }

func (p *pageRows) get() int {
	if fewer := p.fewer.Load(); fewer > 0 {
		return int(fewer)
	}
	return PageRows
}

// shrink is for a page that was too large; false tells that there is no smaller one.
func (p *pageRows) shrink(from int) bool {
	if from <= 1 {
		return false
	}
	p.fewer.Store(int64(max(1, from/4)))
	return true
}

// grow is for an answer that could be read: the next may be larger again, by little, since one that is too large is
// billed for nothing.
func (p *pageRows) grow(from int) {
	if from < PageRows {
		p.fewer.Store(int64(min(PageRows, from+from/4+1)))
	}
}

// pageSize is the value of the header that asks for such pages.
func (ex *exchange) pageSize() string {
	if ex.rows <= 0 {
		return strconv.Itoa(PageRows)
	}
	return strconv.Itoa(ex.rows)
}

// rowDecoder makes of a row what is wanted of it. A row whose id is not one of the source is an error.
type rowDecoder[T any] func(row jsontext.Value, from Source) (T, error)

// byID is for what is decoded once the id is known.
func byID[T any](decode func(jsontext.Value, ID) (T, error)) rowDecoder[T] {
	return func(row jsontext.Value, from Source) (one T, err error) {
		id, _, err := rowID(row, from)
		if err != nil {
			return one, err
		}
		return decode(row, id)
	}
}

// usable decodes the rows of a page and leaves out, and reports, what cannot be. A page without the id of any twin is
// an error: IoT Hub does not give such answers. unreadable may be nil.
func usable[T any](page []jsontext.Value, from Source, decode rowDecoder[T], unreadable func(Unreadable)) ([]T, error) {
	all := make([]T, 0, len(page))
	named := len(page) == 0
	for _, row := range page {
		one, err := decode(row, from)
		if err == nil {
			named, all = true, append(all, one)
			continue
		}
		id, name, noID := rowID(row, from)
		if noID != nil {
			err = noID
		}
		named = named || name != ""
		unreadable(Unreadable{ID: id, Name: name, Why: err.Error()})
	}
	if !named {
		return nil, errNoID
	}
	return all, nil
}

var errNoID = errors.New("a row of the query's answer has no usable id")

// rowID also returns the id as it is spelled, when it cannot be used.
func rowID(row jsontext.Value, from Source) (id ID, name string, err error) {
	var ids struct {
		DeviceID string `json:"deviceId"`
		ModuleID string `json:"moduleId"`
	}
	if decode(row, &ids) != nil {
		return ID{}, "", errNoID
	}
	id = ID{Device: ids.DeviceID, Module: ids.ModuleID}
	name = printable(id)
	if err := from.checkID(id); err != nil {
		return ID{}, name, err
	}
	return id, name, nil
}

// checkID refuses an id that is not one of a twin of the source.
func (from Source) checkID(id ID) error {
	if id.check() != nil || (from == Modules) != (id.Module != "") {
		return errNoID
	}
	return nil
}

// printable is an id that anybody may have made, for a message.
func printable(id ID) string {
	parts := ID{Device: shortID(id.Device), Module: shortID(id.Module)}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, parts.String())
}
