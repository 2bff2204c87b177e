package seccomp

import _ "github.com/seccomp/libseccomp-golang"
