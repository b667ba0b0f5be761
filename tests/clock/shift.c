/*
 * Shifts the wall clock of the process that it is preloaded into (LD_PRELOAD), and of nothing else: clock_gettime of the
 * real-time clocks, gettimeofday, time and timespec_get are off by as many milliseconds as the file named by
 * CLOCK_SHIFT_FILE says at that moment (decimal text, a sign is allowed, ended by a new line, 21 bytes at least). Whoever
 * writes into the file shifts a process that runs. The monotonic clock is left alone, so what times out does so as ever.
 *
 * The file is mapped at the first call, and read by every call: no lock and no allocation, so that an allocator may ask for
 * the time. It must not be truncated while it is mapped. A reader may meet a text that is half written, and be off for
 * one call by something between the two shifts.
 *
 * librdkafka waits until a moment that it makes of gettimeofday. The kernel knows nothing of the shift, so waits until a
 * moment of the real-time clock are shifted back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define NANOS_PER_SECOND 1000000000L
#define NANOS_PER_MILLI 1000000L
#define TEXT_BYTES 21
/* No monotonic clock is as late as this, and no real-time clock as early. */
#define REAL_TIME_SECONDS_MIN 1000000000L

static const char *_Atomic text;

static const char *shift_text(void) {
    const char *mapped = text;
    if (mapped)
        return mapped;
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return NULL;
    void *map = mmap(NULL, TEXT_BYTES, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED)
        return NULL;
    /* two threads may both map it: one mapping more is no harm */
    text = map;
    return map;
}

static long long shift_millis(void) {
    const char *digits = shift_text();
    long long millis = 0;
    int negative = 0;
    if (!digits)
        return 0;
    for (int at = 0; at < TEXT_BYTES && digits[at] != '\n'; at++) {
        if (digits[at] == '-')
            negative = 1;
        else if (digits[at] >= '0' && digits[at] <= '9')
            millis = millis * 10 + (digits[at] - '0');
    }
    return negative ? -millis : millis;
}

static void shift(struct timespec *moment, long long millis) {
    long long nanos = moment->tv_nsec + millis % 1000 * NANOS_PER_MILLI;
    moment->tv_sec += millis / 1000;
    if (nanos >= NANOS_PER_SECOND) {
        nanos -= NANOS_PER_SECOND;
        moment->tv_sec++;
    } else if (nanos < 0) {
        nanos += NANOS_PER_SECOND;
        moment->tv_sec--;
    }
    moment->tv_nsec = nanos;
}

int clock_gettime(clockid_t clock, struct timespec *moment) {
    int result = (int)syscall(SYS_clock_gettime, clock, moment);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(moment, shift_millis());
    return result;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *moment, int base) {
    if (base != TIME_UTC)
        return 0;
    clock_gettime(CLOCK_REALTIME, moment);
    return base;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    struct timespec real = *until;
    if (until->tv_sec < REAL_TIME_SECONDS_MIN)
        return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, until);
    shift(&real, -shift_millis());
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &real);
}

/* In glibc these are conditions and mutexes of pthreads by another name. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    int result = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
}
