// Command true ends at once: what is left is the cost of the container.
package main

func main() {}
