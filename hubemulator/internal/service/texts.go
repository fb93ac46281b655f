package service

import "sync"

const (
	// usualText is the room that most answers find enough, in bytes.
	usualText = 4 << 10
	// maxText is what is kept of the memory of a single answer.
	maxText = 1 << 20
)

// texts keeps the memory of answers that were sent for those that follow.
type texts struct{ pool sync.Pool }

// take returns an empty text.
func (t *texts) take() []byte {
	if text, found := t.pool.Get().(*[]byte); found {
		return (*text)[:0]
	}
	return make([]byte, 0, usualText)
}

// giveBack takes a text that is not read any more.
func (t *texts) giveBack(text []byte) {
	if cap(text) <= maxText {
		t.pool.Put(&text)
	}
}
