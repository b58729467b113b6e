/* A library for LD_PRELOAD: the file calls of a process on what lies below one folder are recorded, and one of them
   fails, is cut short, or is the last that the process makes.

   A process is watched from `watch_files` on. A call is named by its kind and its path, relative to the folder, with
   the random part of temporary names replaced by a star; `plan_fault` names the call that is not as it should be: the
   `ordinal`-th of that name. Calls by the C library itself (in `fopen`, in `fclose`) are not seen; `fwrite` is. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum what { NOTHING, FAIL, FULL, KILL, TEAR, SHORTEN };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int watching, record = -1;
static char folder[PATH_MAX];
static size_t folder_length;
static char target[PATH_MAX + 64];
static long remaining;
static enum what fault;
static int fault_errno, is_full;

void watch_files(const char *root, int descriptor) {
    snprintf(folder, sizeof folder, "%s", root);
    folder_length = strlen(folder);
    record = descriptor;
    watching = 1;
}

void plan_fault(const char *call, long ordinal, int what, int error) {
    snprintf(target, sizeof target, "%s", call);
    remaining = ordinal;
    fault = (enum what)what;
    fault_errno = error;
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

/* Below the folder? Then its path from there, with a star in temporary names. */
static int relative(const char *path, char *out, size_t size) {
    if (strncmp(path, folder, folder_length) || (path[folder_length] != '/' && path[folder_length])) return 0;
    const char *rest = path + folder_length + (path[folder_length] == '/');
    size_t n = 0;
    while (*rest && n + 2 < size) {
        const char *name = ".segattn-";
        if (!strncmp(rest, name, strlen(name)) && strlen(rest) >= strlen(name) + 16) {
            memcpy(out + n, name, strlen(name));
            n += strlen(name);
            out[n++] = '*';
            rest += strlen(name) + 16;
        } else {
            out[n++] = *rest++;
        }
    }
    out[n] = 0;
    return 1;
}

/* What happens to the call `kind` on `path`, which takes room on the disk if `grows`. */
static enum what decide(const char *kind, const char *path, int grows) {
    char name[PATH_MAX + 64];
    int start = snprintf(name, sizeof name, "%s ", kind);
    if (!relative(path, name + start, sizeof name - (size_t)start)) return NOTHING;
    enum what now = NOTHING;
    pthread_mutex_lock(&turn);
    if (fault != NOTHING && !strcmp(name, target) && --remaining == 0) {
        now = fault;
        is_full = fault == FULL;
    } else if (is_full && grows) {
        now = FULL;
    }
    char line[PATH_MAX + 80];
    int length = snprintf(line, sizeof line, "%c %s\n", now == NOTHING ? '-' : '!', name);
    if (record >= 0) syscall(SYS_write, record, line, (size_t)length);
    pthread_mutex_unlock(&turn);
    if (now == KILL) die();
    return now;
}

static enum what at_path(const char *kind, int directory, const char *path, int grows) {
    if (!watching || !path) return NOTHING;
    char whole[2 * PATH_MAX];
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char base[PATH_MAX];
        if (directory == AT_FDCWD) {
            if (syscall(SYS_getcwd, base, sizeof base) < 0) return NOTHING;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return NOTHING;
            base[length] = 0;
        }
        snprintf(whole, sizeof whole, "%s/%s", base, path);
    }
    return decide(kind, whole, grows);
}

static enum what at_descriptor(const char *kind, int descriptor, int grows) {
    if (!watching) return NOTHING;
    int saved = errno;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0) return NOTHING;
    path[length] = 0;
    return decide(kind, path, grows);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int refused(enum what now) {
    if (now == NOTHING) return 0;
    errno = now == FULL ? ENOSPC : fault_errno;
    return 1;
}

/* Opening. */

static const char *opening(int flags) {
    if (flags & O_DIRECTORY) return "open-folder";
    return flags & (O_WRONLY | O_RDWR) ? "open-write" : "open-read";
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, last); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags, flags) \
        REAL(int, #name, const char *, int, ...); \
        return refused(at_path(opening(flags), AT_FDCWD, path, flags & O_CREAT)) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int directory, const char *path, int flags, ...) { \
        MODE(flags, flags) \
        REAL(int, #name, int, const char *, int, ...); \
        return refused(at_path(opening(flags), directory, path, flags & O_CREAT)) \
                   ? -1 : real(directory, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(FILE *, #name, const char *, const char *); \
        int writes = mode[0] != 'r'; \
        return refused(at_path(writes ? "open-write" : "open-read", AT_FDCWD, path, writes)) ? NULL : real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    return refused(at_path("open-folder", AT_FDCWD, path, 0)) ? NULL : real(path);
}

DIR *fdopendir(int descriptor) {
    REAL(DIR *, "fdopendir", int);
    return refused(at_descriptor("open-folder", descriptor, 0)) ? NULL : real(descriptor);
}

#define READDIR(name, entry) \
    struct entry *name(DIR *opened) { \
        REAL(struct entry *, #name, DIR *); \
        return refused(at_descriptor("list", dirfd(opened), 0)) ? NULL : real(opened); \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

/* Reading. */

ssize_t read(int descriptor, void *data, size_t count) {
    REAL(ssize_t, "read", int, void *, size_t);
    return refused(at_descriptor("read", descriptor, 0)) ? -1 : real(descriptor, data, count);
}

#define PREAD(name, offset_type) \
    ssize_t name(int descriptor, void *data, size_t count, offset_type offset) { \
        REAL(ssize_t, #name, int, void *, size_t, offset_type); \
        return refused(at_descriptor("read", descriptor, 0)) ? -1 : real(descriptor, data, count, offset); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

/* Writing: all, nothing, or half, after which the process goes on or not. */

ssize_t write(int descriptor, const void *data, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    enum what now = at_descriptor("write", descriptor, 1);
    if (now == TEAR || now == SHORTEN) {
        ssize_t written = real(descriptor, data, count > 1 ? count / 2 : count);
        if (now == TEAR) die();
        return written;
    }
    return refused(now) ? -1 : real(descriptor, data, count);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int descriptor, const void *data, size_t count, offset_type offset) { \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
        enum what now = at_descriptor("write", descriptor, 1); \
        if (now == TEAR || now == SHORTEN) { \
            ssize_t written = real(descriptor, data, count > 1 ? count / 2 : count, offset); \
            if (now == TEAR) die(); \
            return written; \
        } \
        return refused(now) ? -1 : real(descriptor, data, count, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    enum what now = at_descriptor("write", fileno(file), 1);
    if (now == TEAR || now == SHORTEN) { /* fwrite is only short where it has failed */
        size_t written = real(data, size, count / 2, file);
        fflush(file);
        if (now == TEAR) die();
        errno = ENOSPC;
        return written;
    }
    return refused(now) ? 0 : real(data, size, count, file);
}

#define SENDFILE(name, offset_type) \
    ssize_t name(int to, int from, offset_type *offset, size_t count) { \
        REAL(ssize_t, #name, int, int, offset_type *, size_t); \
        enum what now = at_descriptor("write", to, 1); \
        if (now == TEAR || now == SHORTEN) { \
            ssize_t sent = real(to, from, offset, 20); \
            if (now == TEAR) die(); \
            return sent; \
        } \
        return refused(now) ? -1 : real(to, from, offset, count); \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

/* Calls on a descriptor. A process that is killed loses nothing that was not flushed, so nothing is flushed here. */

int fsync(int descriptor) { return refused(at_descriptor("fsync", descriptor, 1)) ? -1 : 0; }
int fdatasync(int descriptor) { return refused(at_descriptor("fsync", descriptor, 1)) ? -1 : 0; }

int close(int descriptor) {
    REAL(int, "close", int);
    enum what now = at_descriptor("close", descriptor, 0);
    int result = real(descriptor);
    return refused(now) ? -1 : result;
}

int flock(int descriptor, int operation) {
    REAL(int, "flock", int, int);
    return refused(at_descriptor("flock", descriptor, 0)) ? -1 : real(descriptor, operation);
}

#define FTRUNCATE(name, offset_type) \
    int name(int descriptor, offset_type length) { \
        REAL(int, #name, int, offset_type); \
        return refused(at_descriptor("truncate", descriptor, 0)) ? -1 : real(descriptor, length); \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define LSEEK(name, offset_type) \
    offset_type name(int descriptor, offset_type offset, int whence) { \
        REAL(offset_type, #name, int, offset_type, int); \
        return refused(at_descriptor("seek", descriptor, 0)) ? -1 : real(descriptor, offset, whence); \
    }
LSEEK(lseek, off_t)
LSEEK(lseek64, off64_t)

/* Calls on names. */

#define ON_PATH(name, kind, grows, parameters, arguments, types, directory, path) \
    int name parameters { \
        REAL(int, #name, types); \
        return refused(at_path(kind, directory, path, grows)) ? -1 : real arguments; \
    }
#define TYPES(...) __VA_ARGS__
ON_PATH(mkdir, "mkdir", 1, (const char *path, mode_t mode), (path, mode), TYPES(const char *, mode_t), AT_FDCWD, path)
ON_PATH(mkdirat, "mkdir", 1, (int at, const char *path, mode_t mode), (at, path, mode),
        TYPES(int, const char *, mode_t), at, path)
ON_PATH(unlink, "unlink", 0, (const char *path), (path), TYPES(const char *), AT_FDCWD, path)
ON_PATH(unlinkat, "unlink", 0, (int at, const char *path, int flags), (at, path, flags),
        TYPES(int, const char *, int), at, path)
ON_PATH(rmdir, "unlink", 0, (const char *path), (path), TYPES(const char *), AT_FDCWD, path)
ON_PATH(rename, "rename", 0, (const char *from, const char *to), (from, to), TYPES(const char *, const char *),
        AT_FDCWD, to)
ON_PATH(renameat, "rename", 0, (int at, const char *from, int there, const char *to), (at, from, there, to),
        TYPES(int, const char *, int, const char *), there, to)
ON_PATH(symlink, "link", 1, (const char *from, const char *to), (from, to), TYPES(const char *, const char *),
        AT_FDCWD, to)
ON_PATH(symlinkat, "link", 1, (const char *from, int at, const char *to), (from, at, to),
        TYPES(const char *, int, const char *), at, to)
ON_PATH(access, "stat", 0, (const char *path, int mode), (path, mode), TYPES(const char *, int), AT_FDCWD, path)
ON_PATH(faccessat, "stat", 0, (int at, const char *path, int mode, int flags), (at, path, mode, flags),
        TYPES(int, const char *, int, int), at, path)
ON_PATH(stat, "stat", 0, (const char *path, struct stat *to), (path, to), TYPES(const char *, struct stat *),
        AT_FDCWD, path)
ON_PATH(stat64, "stat", 0, (const char *path, struct stat64 *to), (path, to), TYPES(const char *, struct stat64 *),
        AT_FDCWD, path)
ON_PATH(lstat, "stat", 0, (const char *path, struct stat *to), (path, to), TYPES(const char *, struct stat *),
        AT_FDCWD, path)
ON_PATH(lstat64, "stat", 0, (const char *path, struct stat64 *to), (path, to),
        TYPES(const char *, struct stat64 *), AT_FDCWD, path)
ON_PATH(fstatat, "stat", 0, (int at, const char *path, struct stat *to, int flags), (at, path, to, flags),
        TYPES(int, const char *, struct stat *, int), at, path)
ON_PATH(fstatat64, "stat", 0, (int at, const char *path, struct stat64 *to, int flags), (at, path, to, flags),
        TYPES(int, const char *, struct stat64 *, int), at, path)
ON_PATH(statx, "stat", 0, (int at, const char *path, int flags, unsigned mask, struct statx *to),
        (at, path, flags, mask, to), TYPES(int, const char *, int, unsigned, struct statx *), at, path)
