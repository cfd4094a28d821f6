/* What a loss of power would leave: after each fsync of a file its bytes are copied aside, after each fsync of a folder
 * the names in it. Built by power.py and put in front of the C library (LD_PRELOAD); DURABLE_BELOW says which files are
 * meant, DURABLE_COPIES where the copies go. A file or folder is known by its inode and the time at which it was made,
 * since inode numbers are used again.
 *
 * f.<inode>.<born>   the bytes of a file
 * d.<inode>.<born>   a line for each name in a folder: kind, inode, time of making, name
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long long born(const struct statx *s) {
    return (s->stx_mask & STATX_BTIME) ? s->stx_btime.tv_sec * 1000000000LL + s->stx_btime.tv_nsec : 0;
}

static int in_place(const char *temporary, const char *copies, char kind, const struct statx *s) {
    char target[PATH_MAX];
    snprintf(target, sizeof target, "%s/%c.%llu.%lld", copies, kind, (unsigned long long)s->stx_ino, born(s));
    return rename(temporary, target);
}

static void copy_bytes(int fd, FILE *out) {
    char path[64], buffer[65536];
    ssize_t got;
    off_t at = 0;
    int in = fd;
    /* another descriptor only where this one cannot be read: closing one takes away the process's locks on the file,
     * and SQLite's are of that kind */
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        in = open(path, O_RDONLY | O_CLOEXEC);
    }
    for (; (got = pread(in, buffer, sizeof buffer, at)) > 0; at += got) fwrite(buffer, 1, got, out);
    if (in != fd && in >= 0) close(in);
}

static void copy_names(int fd, FILE *out) {
    struct statx s;
    struct dirent *entry;
    int in = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = in < 0 ? NULL : fdopendir(in);
    if (folder == NULL) return;
    while ((entry = readdir(folder)) != NULL) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (statx(fd, entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &s)) continue;
        fprintf(out, "%c %llu %lld %s\n", S_ISDIR(s.stx_mode) ? 'd' : 'f', (unsigned long long)s.stx_ino, born(&s),
                entry->d_name);
    }
    closedir(folder);
}

static void remember(int fd) {
    static __thread unsigned long count;
    const char *below = getenv("DURABLE_BELOW"), *copies = getenv("DURABLE_COPIES");
    char link[64], path[PATH_MAX], temporary[PATH_MAX];
    struct statx s;
    if (below == NULL || copies == NULL) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    if (strncmp(path, below, strlen(below)) || statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &s)) return;
    snprintf(temporary, sizeof temporary, "%s/t.%d.%d.%lu", copies, getpid(), gettid(), count++);
    FILE *out = fopen(temporary, "w");
    if (out == NULL) abort();
    if (S_ISDIR(s.stx_mode)) copy_names(fd, out); else copy_bytes(fd, out);
    if (fclose(out) || in_place(temporary, copies, S_ISDIR(s.stx_mode) ? 'd' : 'f', &s)) abort();
}

static int synced(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(fd), kept = errno;
    if (result == 0) remember(fd);
    errno = kept;
    return result;
}

int fsync(int fd) { return synced("fsync", fd); }

int fdatasync(int fd) { return synced("fdatasync", fd); }
