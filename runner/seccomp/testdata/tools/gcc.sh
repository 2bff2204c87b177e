#!/bin/bash
# A parallel build of a threaded program, and the binutils.
set -euo pipefail
cat >main.c <<'C'
#include <pthread.h>
#include <stdio.h>
static void *run(void *p) { return p; }
int main(void)
{
	pthread_t thread;
	pthread_create(&thread, 0, run, 0);
	pthread_join(thread, 0);
	puts("built");
	return 0;
}
C
printf 'main: main.o\n\tgcc -pthread -o $@ $^\nmain.o: main.c\n\tgcc -O2 -g -pipe -c $^\n' >Makefile
make -j4 -s
./main
strip main
ar rc lib.a main.o
nm lib.a >/dev/null
