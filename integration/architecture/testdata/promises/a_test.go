package a

import "testing"

func TestReal(t *testing.T) {}
