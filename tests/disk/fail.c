/*
 * Makes system calls on the files of one folder fail in the process that it is preloaded into (LD_PRELOAD), and no others.
 *
 * DISK_FAIL_FOLDER   the folder: calls on it, on files below it and on their open descriptors count
 * DISK_FAIL_ERROR    EIO, ENOSPC, or SHORT: reads and writes take half of the bytes, and other calls do not fail
 * DISK_FAIL_AT       the number of the call that fails, from 1 on; or
 * DISK_FAIL_SWITCH   a file: while it exists, each call of the name that it holds (such as fsync) fails
 *
 * A call that fails is told on standard error: "disk fails: call 7, fsync". A file that a failed fsync concerned keeps its bytes, as
 * with a disk that says so and means something else.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_below(const char *path) {
    const char *folder = getenv("DISK_FAIL_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_below_descriptor(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!getenv("DISK_FAIL_FOLDER"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    int before = errno;
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_below(path);
}

static int is_switched_on(const char *call) {
    char name[32] = {0};
    const char *path = getenv("DISK_FAIL_SWITCH");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    size_t length = fread(name, 1, sizeof name - 1, file);
    fclose(file);
    return length && strcmp(name, call) == 0;
}

/* Whether this call fails; the caller has seen that it is on the folder. */
static int fails(const char *call) {
    long number = ++calls;
    const char *at = getenv("DISK_FAIL_AT");
    /* readdir tells an error from the end by it */
    int before = errno;
    int failing = (at && strtol(at, NULL, 10) == number) || is_switched_on(call);
    if (failing)
        dprintf(2, "disk fails: call %ld, %s\n", number, call);
    errno = before;
    return failing;
}

static int is_short(void) {
    const char *error = getenv("DISK_FAIL_ERROR");
    return error && strcmp(error, "SHORT") == 0;
}

/* Sets the error; whether there is one. */
static int error_is_set(void) {
    const char *error = getenv("DISK_FAIL_ERROR");
    if (is_short())
        return 0;
    errno = error && strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
    return 1;
}

#define FAILS(is_on_folder, call, failed)                                                                              \
    if ((is_on_folder) && fails(call) && error_is_set())                                                               \
        return failed;

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    va_list arguments;
    va_start(arguments, flags);
    if (flags & (O_CREAT | __O_TMPFILE))
        mode = va_arg(arguments, mode_t);
    va_end(arguments);
    FAILS(is_below(path), "open", -1)
    return REAL(open64)(path, flags, mode);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    if (is_below_descriptor(descriptor) && fails("write")) {
        if (error_is_set())
            return -1;
        count = count > 1 ? count / 2 : count;
    }
    return REAL(write)(descriptor, bytes, count);
}

ssize_t read(int descriptor, void *bytes, size_t count) {
    if (is_below_descriptor(descriptor) && fails("read")) {
        if (error_is_set())
            return -1;
        count = count > 1 ? count / 2 : count;
    }
    return REAL(read)(descriptor, bytes, count);
}

int fsync(int descriptor) {
    FAILS(is_below_descriptor(descriptor), "fsync", -1)
    return REAL(fsync)(descriptor);
}

int rename(const char *from, const char *to) {
    FAILS(is_below(to), "rename", -1)
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    FAILS(is_below(path), "unlink", -1)
    return REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    FAILS(is_below(path), "mkdir", -1)
    return REAL(mkdir)(path, mode);
}

int flock(int descriptor, int operation) {
    FAILS(is_below_descriptor(descriptor), "flock", -1)
    return REAL(flock)(descriptor, operation);
}

DIR *opendir(const char *path) {
    FAILS(is_below(path), "opendir", NULL)
    return REAL(opendir)(path);
}

struct dirent64 *readdir64(DIR *folder) {
    FAILS(is_below_descriptor(dirfd(folder)), "readdir", NULL)
    return REAL(readdir64)(folder);
}
