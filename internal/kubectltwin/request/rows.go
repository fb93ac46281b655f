package request

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// maxPage is the schema's bound of spec.query.pageSize, and shrinking what a page that was too large is divided by.
const (
	maxPage   = 100
	shrinking = 4
)

// Cost is what a query took.
type Cost struct {
	// Pages that the hub answered, and Messages that it bills for them.
	Pages    int   `json:"pages"`
	Messages int64 `json:"messages"`
	// Condition is the one that the hub was asked for.
	Condition string `json:"condition,omitempty"`
	// Unreadable counts the twins that were left out.
	Unreadable int `json:"unreadable,omitempty"`
}

// Rows asks for the twins of a query page by page, for limit of them at most, or for all when it is 0. Where an answer is
// too large it asks for smaller pages.
func (c *Client) Rows(ctx context.Context, namespace string, query v1alpha1.TwinRequestQuery, limit int, show func(rows []map[string]any) error) (Cost, error) {
	var cost Cost
	size, left := maxPage, limit
	for {
		query.PageSize = int32(size)
		if limit > 0 {
			query.PageSize = int32(min(size, left))
		}
		asked := &v1alpha1.TwinRequest{}
		asked.Namespace, asked.Spec.Query = namespace, query.DeepCopy()
		err := c.Answer(ctx, asked)
		if ReasonOf(err) == v1alpha1.ReasonAnswerTooLarge && query.PageSize > 1 {
			size = max(1, int(query.PageSize)/shrinking)
			continue
		}
		if err != nil {
			return cost, err
		}
		page := asked.Status.Query
		cost.add(page)
		rows, err := decoded(page)
		if err != nil {
			return cost, err
		}
		if err := show(rows); err != nil {
			return cost, err
		}
		left -= len(rows)
		if page.Continue == "" || limit > 0 && left <= 0 {
			return cost, nil
		}
		query.Continue = page.Continue
	}
}

func (c *Cost) add(page *v1alpha1.TwinRequestRows) {
	c.Pages += int(page.Pages)
	c.Messages += page.Messages
	c.Unreadable += int(page.Unreadable)
	c.Condition = page.Condition
}

func decoded(page *v1alpha1.TwinRequestRows) ([]map[string]any, error) {
	rows := make([]map[string]any, len(page.Rows))
	for i, row := range page.Rows {
		decoder := json.NewDecoder(bytes.NewReader(row.Raw))
		decoder.UseNumber()
		if err := decoder.Decode(&rows[i]); err != nil {
			return nil, fmt.Errorf("a row of the answer is no object: %w", err)
		}
	}
	return rows, nil
}
