package store

import "k8s.io/utils/third_party/forked/golang/btree"

// degree is half of how many ids share a node of an index: enough for few
// steps down, few enough to move when one comes or goes.
const degree = 32

// index finds what belongs to an id, and goes through all of a source in the
// order of the ids. What comes and goes costs little however much there is.
type index[T any] struct {
	sources map[Source]*btree.BTree[indexed[T]]
}

type indexed[T any] struct {
	id ID
	of T
}

func newIndex[T any]() index[T] {
	x := index[T]{sources: map[Source]*btree.BTree[indexed[T]]{}}
	for _, source := range []Source{Devices, Modules} {
		x.sources[source] = btree.New(degree, func(a, b indexed[T]) bool { return a.id.Compare(b.id) < 0 })
	}
	return x
}

func (x index[T]) put(id ID, of T) { x.sources[id.source()].ReplaceOrInsert(indexed[T]{id, of}) }

func (x index[T]) remove(id ID) { x.sources[id.source()].Delete(indexed[T]{id: id}) }

func (x index[T]) len(source Source) int { return x.sources[source].Len() }

// get returns the zero value for an id that is not there.
func (x index[T]) get(id ID) T {
	found, _ := x.sources[id.source()].Get(indexed[T]{id: id})
	return found.of
}

// next visits those of a source whose ids come after an id, in order and at
// most limit of them. It returns the id of the last one, and whether there are
// more. visit must not change the index.
func (x index[T]) next(source Source, after ID, limit int, visit func(T)) (last ID, more bool) {
	last, visited := after, 0
	x.sources[source].AscendGreaterOrEqual(indexed[T]{id: after}, func(item indexed[T]) bool {
		if item.id == after {
			return true
		}
		if more = visited == limit; more {
			return false
		}
		visit(item.of)
		last, visited = item.id, visited+1
		return true
	})
	return last, more
}

// ofDevice visits those of a source that belong to a device, in order. visit
// must not change the index.
func (x index[T]) ofDevice(source Source, device string, visit func(T)) {
	x.sources[source].AscendGreaterOrEqual(indexed[T]{id: ID{Device: device}}, func(item indexed[T]) bool {
		if item.id.Device != device {
			return false
		}
		visit(item.of)
		return true
	})
}
