/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "faulty-sqlite.h"

#include <sqlite3.h>
#include <stdatomic.h>

#include "lib/tests.h"

static atomic_int armed = _FAULTY_MAX;
static atomic_uint n_calls_until, n_calls_to_fail, n_failed;

static bool fails(enum faulty_what what) {
        unsigned left;

        if (atomic_load(&armed) != (int) what)
                return false;
        left = atomic_load(&n_calls_until);
        while (left > 0)
                if (atomic_compare_exchange_weak(&n_calls_until, &left, left - 1))
                        return false;
        left = atomic_load(&n_calls_to_fail);
        while (left > 0)
                if (atomic_compare_exchange_weak(&n_calls_to_fail, &left, left - 1)) {
                        atomic_fetch_add(&n_failed, 1);
                        return true;
                }
        return false;
}

void faulty_sqlite_arm(enum faulty_what what, unsigned call, unsigned n_calls) {
        atomic_store(&n_calls_until, call);
        atomic_store(&n_calls_to_fail, n_calls);
        atomic_store(&n_failed, 0);
        atomic_store(&armed, (int) what);
}

bool faulty_sqlite_disarm(void) {
        atomic_store(&armed, _FAULTY_MAX);
        return atomic_load(&n_failed) > 0;
}

struct faulty_file {
        sqlite3_file base;
        sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *real_vfs;
static sqlite3_mem_methods real_memory;

static sqlite3_file *real_file(sqlite3_file *file) {
        return ((struct faulty_file *) file)->real;
}

static int file_close(sqlite3_file *file) {
        return real_file(file)->pMethods->xClose(real_file(file));
}

static int file_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset) {
        if (fails(FAULTY_READ))
                return SQLITE_IOERR_READ;
        return real_file(file)->pMethods->xRead(real_file(file), data, size, offset);
}

static int file_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
        if (fails(FAULTY_WRITE)) {
                /* Half of it gets there. */
                (void) real_file(file)->pMethods->xWrite(real_file(file), data, size / 2, offset);
                return SQLITE_FULL;
        }
        return real_file(file)->pMethods->xWrite(real_file(file), data, size, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
        return real_file(file)->pMethods->xTruncate(real_file(file), size);
}

static int file_sync(sqlite3_file *file, int flags) {
        if (fails(FAULTY_SYNC))
                return SQLITE_IOERR_FSYNC;
        return real_file(file)->pMethods->xSync(real_file(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret_size) {
        return real_file(file)->pMethods->xFileSize(real_file(file), ret_size);
}

static int file_lock(sqlite3_file *file, int lock) {
        return real_file(file)->pMethods->xLock(real_file(file), lock);
}

static int file_unlock(sqlite3_file *file, int lock) {
        return real_file(file)->pMethods->xUnlock(real_file(file), lock);
}

static int file_check_reserved_lock(sqlite3_file *file, int *ret) {
        return real_file(file)->pMethods->xCheckReservedLock(real_file(file), ret);
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
        return real_file(file)->pMethods->xFileControl(real_file(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file) {
        return real_file(file)->pMethods->xSectorSize(real_file(file));
}

static int file_characteristics(sqlite3_file *file) {
        return real_file(file)->pMethods->xDeviceCharacteristics(real_file(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret) {
        if (extend && fails(FAULTY_WRITE))
                return SQLITE_IOERR_SHMSIZE;
        return real_file(file)->pMethods->xShmMap(real_file(file), page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
        return real_file(file)->pMethods->xShmLock(real_file(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file) {
        real_file(file)->pMethods->xShmBarrier(real_file(file));
}

static int file_shm_unmap(sqlite3_file *file, int remove) {
        return real_file(file)->pMethods->xShmUnmap(real_file(file), remove);
}

static const sqlite3_io_methods file_methods = {
        .iVersion = 2,
        .xClose = file_close,
        .xRead = file_read,
        .xWrite = file_write,
        .xTruncate = file_truncate,
        .xSync = file_sync,
        .xFileSize = file_size,
        .xLock = file_lock,
        .xUnlock = file_unlock,
        .xCheckReservedLock = file_check_reserved_lock,
        .xFileControl = file_control,
        .xSectorSize = file_sector_size,
        .xDeviceCharacteristics = file_characteristics,
        .xShmMap = file_shm_map,
        .xShmLock = file_shm_lock,
        .xShmBarrier = file_shm_barrier,
        .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags) {
        struct faulty_file *faulty = (struct faulty_file *) file;
        int code;

        faulty->real = (sqlite3_file *) (faulty + 1);
        faulty->base.pMethods = NULL;
        if (fails(FAULTY_OPEN))
                return SQLITE_CANTOPEN;
        code = real_vfs->xOpen(real_vfs, name, faulty->real, flags, ret_flags);
        if (code == SQLITE_OK)
                faulty->base.pMethods = &file_methods;
        return code;
}

static void *memory_allocate(int size) {
        return fails(FAULTY_MEMORY) ? NULL : real_memory.xMalloc(size);
}

static void *memory_reallocate(void *pointer, int size) {
        return fails(FAULTY_MEMORY) ? NULL : real_memory.xRealloc(pointer, size);
}

void faulty_sqlite_install(void) {
        static sqlite3_vfs vfs;
        sqlite3_mem_methods memory;

        ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
        memory = real_memory;
        memory.xMalloc = memory_allocate;
        memory.xRealloc = memory_reallocate;
        ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory), SQLITE_OK);

        ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_MULTITHREAD), SQLITE_OK);
        ASSERT_EQ(sqlite3_initialize(), SQLITE_OK);
        real_vfs = sqlite3_vfs_find(NULL);
        vfs = *real_vfs;
        vfs.zName = "faulty";
        vfs.szOsFile = (int) sizeof(struct faulty_file) + real_vfs->szOsFile;
        vfs.xOpen = vfs_open;
        vfs.pNext = NULL;
        ASSERT_EQ(sqlite3_vfs_register(&vfs, /* default= */ 1), SQLITE_OK);
}
