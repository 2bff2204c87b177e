package main

import _ "github.com/urfave/cli/v2"
