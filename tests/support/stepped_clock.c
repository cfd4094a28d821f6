/* A wall clock that is set while the processes run, in front of the C library (LD_PRELOAD); the monotonic clock stays
 * what it is. Built and set by stepped_clock.py. (libfaketime 0.9.10 cannot be used: under it time.sleep of Python 3.11,
 * which is clock_nanosleep to a moment of the monotonic clock, fails with EINVAL.)
 *
 * STEPPED_CLOCK names a file of three numbers of 64 bits: by how many nanoseconds the clock is ahead, by how many in a
 * million it runs fast, and since which nanosecond of the monotonic clock.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *setting;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("STEPPED_CLOCK");
    int fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void *there = mmap(NULL, 24, PROT_READ, MAP_SHARED, fd, 0);
    if (there != MAP_FAILED) setting = there;
    close(fd);
}

static int64_t now_of(clockid_t clock) {
    struct timespec t;
    syscall(SYS_clock_gettime, clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t wall(void) {
    int64_t now = now_of(CLOCK_REALTIME);
    if (setting == NULL) return now;
    if (setting[1] != 0) now += (now_of(CLOCK_MONOTONIC) - setting[2]) / 1000000 * setting[1];
    return now + setting[0];
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return syscall(SYS_clock_gettime, clock, t);
    int64_t now = wall();
    t->tv_sec = now / 1000000000LL;
    t->tv_nsec = now % 1000000000LL;
    return 0;
}

int gettimeofday(struct timeval *t, void *zone) {
    (void)zone;
    int64_t now = wall();
    t->tv_sec = now / 1000000000LL;
    t->tv_usec = now % 1000000000LL / 1000;
    return 0;
}

time_t time(time_t *t) {
    time_t now = wall() / 1000000000LL;
    if (t != NULL) *t = now;
    return now;
}
