/* Calls getpid once, by the ABI named in argv[1]. The exit code is 0 if the
 * process lived: for int80 also if the number was right. An x32 call answers
 * ENOSYS where the kernel is built without x32, which is as good a control:
 * nothing killed it. */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long pid = getpid(), got;

	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "native")) {
		return syscall(SYS_getpid) == pid ? 0 : 3;
	}
	if (!strcmp(argv[1], "int80")) {
		__asm__ volatile("int $0x80" : "=a"(got) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
		return got == pid ? 0 : 4;
	}
	if (!strcmp(argv[1], "x32")) {
		got = syscall(0x40000000 | SYS_getpid);
		return got == pid || got == -1 ? 0 : 5;
	}
	return 2;
}
