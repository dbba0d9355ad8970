/* Makes the system clock of one process wrong by as many milliseconds as a file says at this moment; loaded by LD_PRELOAD.
 *
 * Only clock_gettime(CLOCK_REALTIME) is wrong, which is where a server takes the time of day from. The clocks that leases and timers
 * count by stay right, as they do when a system clock is stepped, and so do the deadlines that C++ gives to the kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_ms;

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("FAULTS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        offset_ms = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && offset_ms) {
        int64_t ns = now->tv_nsec + *offset_ms % 1000 * 1000000;
        now->tv_sec += *offset_ms / 1000;
        if (ns < 0) {
            ns += 1000000000;
            now->tv_sec -= 1;
        } else if (ns >= 1000000000) {
            ns -= 1000000000;
            now->tv_sec += 1;
        }
        now->tv_nsec = ns;
    }
    return result;
}
