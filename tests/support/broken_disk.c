/* A disk that refuses what SQLite asks of it, in front of the C library (LD_PRELOAD). Built and set by broken_disk.py,
 * while the processes run.
 *
 * BROKEN_DISK names a file of six numbers of 64 bits: which calls (1 a sync, 2 a write, 4 a truncation, 8 a removal), on
 * which files (1 the database, 2 its journal, 4 their folder), the error, the call that is refused first, whether all
 * after it are refused as well, and how many of these calls there were. BROKEN_DATABASE is the path of the database.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { SYNC = 1, WRITE = 2, TRUNCATE = 4, REMOVE = 8 };
enum { CALLS, FILES, ERROR, FIRST, ALL, COUNT };
static int64_t *setting;
static const char *database;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("BROKEN_DISK");
    int fd = name == NULL ? -1 : open(name, O_RDWR | O_CLOEXEC);
    database = getenv("BROKEN_DATABASE");
    if (fd < 0 || database == NULL) return;
    void *there = mmap(NULL, 48, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (there != MAP_FAILED) setting = there;
    close(fd);
}

static int kind_of(const char *path) {
    size_t length = strlen(database), folder = strrchr(database, '/') - database;
    if (!strncmp(path, database, length)) return path[length] == 0 ? 1 : !strcmp(path + length, "-journal") ? 2 : 0;
    return !strncmp(path, database, folder) && path[folder] == 0 ? 4 : 0;
}

static int is_refused(const char *path) {
    if (!(kind_of(path) & setting[FILES])) return 0;
    int64_t count = __atomic_add_fetch(&setting[COUNT], 1, __ATOMIC_SEQ_CST);
    if (count != setting[FIRST] && !(setting[ALL] && count > setting[FIRST])) return 0;
    errno = setting[ERROR];
    return 1;
}

static int refused(int call, int fd) {
    char link[64], path[PATH_MAX];
    if (setting == NULL || !(setting[CALLS] & call)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_refused(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return refused(SYNC, fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return refused(SYNC, fd) ? -1 : REAL(fdatasync)(fd); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return refused(WRITE, fd) ? -1 : REAL(pwrite)(fd, b, n, at); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) {
    return refused(WRITE, fd) ? -1 : REAL(pwrite64)(fd, b, n, at);
}
int ftruncate(int fd, off_t n) { return refused(TRUNCATE, fd) ? -1 : REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return refused(TRUNCATE, fd) ? -1 : REAL(ftruncate64)(fd, n); }
int unlink(const char *path) {
    if (setting != NULL && (setting[CALLS] & REMOVE) && is_refused(path)) return -1;
    return REAL(unlink)(path);
}
