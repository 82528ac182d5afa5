/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files as the kernel writes them, and as it does not. */

#include "lib/folder.h"
#include "lib/tests.h"
#include "node/pressure.h"

#define REST " avg60=5.00 avg300=5.00 total=123456\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=0\n"

static struct node_pressure read_once(struct folder *folder) {
        struct pressure_files files;
        struct node_pressure pressure;

        pressure_open(folder->path, &files);
        pressure_read(&files, &pressure);
        pressure_close(&files);
        return pressure;
}

static void test_values(void) {
        struct pressure_files files;
        struct node_pressure pressure;
        struct folder folder;

        folder_make(&folder);
        folder_write(&folder, "cpu", "some avg10=12.34" REST);
        folder_write(&folder, "memory", "some avg10=0.09" REST);
        folder_write(&folder, "io", "some avg10=100.00" REST);
        pressure_open(folder.path, &files);
        pressure_read(&files, &pressure);
        ASSERT_TRUE(pressure.known);
        ASSERT_EQ(pressure.cpu, 123);
        ASSERT_EQ(pressure.memory, 0);
        ASSERT_EQ(pressure.io, PRESSURE_FULL);

        /* The same descriptors tell what is there later. */
        folder_write(&folder, "cpu", "some avg10=1.05" REST);
        pressure_read(&files, &pressure);
        ASSERT_TRUE(pressure.known);
        ASSERT_EQ(pressure.cpu, 10);
        pressure_close(&files);
        folder_remove(&folder);
}

static void test_unknown(void) {
        static const char *const wrong[] = { "",
                                             "\n",
                                             "full avg10=1.00" REST,
                                             "some avg10=1",
                                             "some avg10=-1.00 ",
                                             "some avg60=1.00 ",
                                             "some avg10=a.bc " };
        struct pressure_files files = PRESSURE_FILES_NONE;
        struct node_pressure pressure;
        struct folder folder;

        pressure_read(&files, &pressure);
        ASSERT_FALSE(pressure.known);
        pressure_close(&files);

        folder_make(&folder);
        ASSERT_FALSE(read_once(&folder).known);
        folder_write(&folder, "cpu", "some avg10=12.34" REST);
        folder_write(&folder, "memory", "some avg10=12.34" REST);
        ASSERT_FALSE(read_once(&folder).known); /* io is missing */
        folder_write(&folder, "io", "some avg10=999.00" REST);
        ASSERT_EQ(read_once(&folder).io, PRESSURE_FULL);
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                folder_write(&folder, "io", wrong[i]);
                pressure = read_once(&folder);
                ASSERT_FALSE(pressure.known);
                ASSERT_EQ(pressure.cpu, 0);
        }
        folder_remove(&folder);
}

int main(void) {
        RUN(test_values);
        RUN(test_unknown);
        return 0;
}
