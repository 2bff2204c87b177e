package policy

import "time"

var Day, Clock = time.Hour, time.Now
