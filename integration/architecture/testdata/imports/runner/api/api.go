package api

import (
	_ "golang.org/x/sys/unix"
	. "strings"
)
