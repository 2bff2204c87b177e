package policy

import _ "os"
