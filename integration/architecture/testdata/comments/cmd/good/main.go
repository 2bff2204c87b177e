// Command good may import anything and never fails.
package main
