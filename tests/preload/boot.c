/* Lets one process believe in another boot of the machine than this one; loaded by LD_PRELOAD.
 *
 * Whoever opens the kernel's file with the name of the boot gets the one that FAULTS_BOOT names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *instead(const char *path) {
    const char *other = getenv("FAULTS_BOOT");
    return other && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? other : path;
}

static int pass(const char *name, const char *path, int flags, va_list rest) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    int mode = __OPEN_NEEDS_MODE(flags) ? va_arg(rest, int) : 0;
    return real(instead(path), flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int file = pass("open", path, flags, rest);
    va_end(rest);
    return file;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int file = pass("open64", path, flags, rest);
    va_end(rest);
    return file;
}
