package initproto

// reader takes a body apart. The first thing that is wrong makes it bad; from
// then on it gives zeros, so a decoder checks once, at its end.
type reader struct {
	rest []byte
	bad  bool
}

// bytes takes n bytes, which share the body's memory.
func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return be.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return be.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return be.Uint64(b)
	}
	return 0
}

// require makes the reader bad unless the rule holds.
func (r *reader) require(rule bool) {
	if !rule {
		r.bad = true
	}
}

// end says whether the body was exactly what the decoder took.
func (r *reader) end() error {
	if r.bad || len(r.rest) != 0 {
		return ErrMalformed
	}
	return nil
}
