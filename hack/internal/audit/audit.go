// Package audit reads what an API server logs of the writes that it answered: the
// truth about what a program wrote, as the other end saw it.
package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Event is what a line of the audit log says.
type Event struct {
	// Answered is when the API server had answered.
	Answered time.Time `json:"stageTimestamp"`
	Verb     string    `json:"verb"`
	User     struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

func (e Event) String() string {
	resource := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		resource += "/" + e.ObjectRef.Subresource
	}
	return fmt.Sprintf("%s %s %s/%s (%d)", e.Verb, resource, e.ObjectRef.Namespace, e.ObjectRef.Name, e.ResponseStatus.Code)
}

// writeVerbs change something; everything else only looks.
var writeVerbs = []string{"create", "update", "patch", "delete", "deletecollection"}

// isWrite leaves out leases only, which are renewed to show that their holder is
// alive: events count.
func (e Event) isWrite() bool {
	lease := e.ObjectRef.APIGroup == "coordination.k8s.io" && e.ObjectRef.Resource == "leases"
	return slices.Contains(writeVerbs, e.Verb) && !lease
}

// writesBy returns the user's writes, refused ones included, and the length of
// what was read, from where to go on. A last line without an end is left for
// the next time.
func writesBy(user string, log io.Reader) (writes []Event, read int64, err error) {
	reader := bufio.NewReader(log)
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			return writes, read, nil
		}
		if err != nil {
			return nil, read, fmt.Errorf("read the audit log: %w", err)
		}
		read += int64(len(line))
		var event Event
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, read, fmt.Errorf("a line of the audit log: %w", err)
		}
		if event.User.Username == user && event.isWrite() {
			writes = append(writes, event)
		}
	}
}

// Trail follows the writes of one user in an API server's audit log.
type Trail struct {
	// Path names the log, User whose writes are followed.
	Path, User string

	offset int64
}

// Next returns the writes since the last call.
func (a *Trail) Next() ([]Event, error) {
	file, err := os.Open(a.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return nil, err
	}
	writes, read, err := writesBy(a.User, file)
	a.offset += read
	return writes, err
}
