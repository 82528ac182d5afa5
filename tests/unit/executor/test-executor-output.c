/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The store of one stream, compared with one that keeps all, for every size around its limits. */

#include "executor/channel.h"
#include "executor/output.h"
#include "lib/tests.h"
#include "util/buffer.h"

#define LIMIT 4096u

static char byte_at(uint64_t offset) {
        return (char) ('a' + (offset * 31 + offset / 253) % 26);
}

static void append(struct output *output, size_t size) {
        _cleanup_free_ char *data = malloc(size + 1);

        ASSERT_NOT_NULL(data);
        for (size_t i = 0; i < size; i++)
                data[i] = byte_at(output->total + i);
        output_append(output, data, size);
}

static uint64_t tail_begin(uint64_t total, size_t limit) {
        return total > limit ? total - (limit - limit / 2) : 0;
}

/* Every kept offset is where it should be, and the rest is jumped over. */
static void check_reads(const struct output *output) {
        uint64_t expected = 0, offset = 0;
        const char *data;
        size_t n;

        while ((n = output_read(output, offset, &offset, &data)) > 0) {
                if (output->total > output->limit && expected == output->limit / 2)
                        expected = tail_begin(output->total, output->limit);
                ASSERT_EQ(offset, expected);
                for (size_t i = 0; i < n; i++)
                        ASSERT_EQ(data[i], byte_at(offset + i));
                offset += n;
                expected = offset;
        }
        ASSERT_EQ(offset, output->total);
}

static void check_kept_reads(const struct kept_outputs *kept, int stream) {
        const struct kept_stream *from = &kept->streams[stream - 1];
        uint64_t offset = 0, sum = 0;
        char buffer[1000];
        ssize_t n;

        while ((n = kept_outputs_read(kept, stream, offset, buffer, sizeof(buffer), &offset)) > 0) {
                for (ssize_t i = 0; i < n; i++)
                        ASSERT_EQ(buffer[i], byte_at(offset + (uint64_t) i));
                offset += (uint64_t) n;
                sum += (uint64_t) n;
        }
        ASSERT_EQ(n, 0);
        ASSERT_EQ(offset, from->total);
        ASSERT_EQ(sum, from->size - from->gap_size);
        ASSERT_EQ(from->truncated, sum < from->total);
}

static void check(size_t total, size_t piece, size_t limit) {
        struct output outputs[2] = { { .limit = limit }, { .limit = limit } };
        struct kept_outputs kept;

        for (size_t done = 0; done < total;) {
                size_t n = MIN(piece, total - done);

                append(&outputs[0], n);
                done += n;
        }
        append(&outputs[1], total / 3);
        ASSERT_LE(outputs[0].allocated, limit);
        check_reads(&outputs[0]);
        check_reads(&outputs[1]);
        ASSERT_OK(kept_outputs_take(outputs, &kept));
        ASSERT_NULL(outputs[0].data);
        ASSERT_EQ(kept.streams[0].total, total);
        ASSERT_EQ(kept.streams[0].truncated, total > limit);
        check_kept_reads(&kept, 1);
        check_kept_reads(&kept, 2);
        kept_outputs_done(&kept);
}

static void test_sizes(void) {
        static const size_t totals[] = {
                0,
                1,
                1000,
                LIMIT / 2 - 1,
                LIMIT / 2,
                LIMIT / 2 + 1,
                LIMIT - 1,
                LIMIT,
                LIMIT + 1,
                LIMIT * 3 / 2 - 1,
                LIMIT * 3 / 2,
                LIMIT * 3 / 2 + 1,
                LIMIT * 2,
                LIMIT * 5 + 77,
                100000,
        };
        static const size_t pieces[] = { 1, 7, 1024, LIMIT / 2, LIMIT, LIMIT * 2 + 1, 100000 };

        for (size_t i = 0; i < ELEMENTSOF(totals); i++)
                for (size_t j = 0; j < ELEMENTSOF(pieces); j++) {
                        check(totals[i], pieces[j], LIMIT);
                        check(totals[i], pieces[j], LIMIT + 1);
                        check(totals[i], pieces[j], 65536);
                }
}

static void test_nothing_costs_nothing(void) {
        struct output output = { .limit = 1024 * 1024 };

        ASSERT_NULL(output.data);
        output_append(&output, "x", 1);
        ASSERT_LE(output.allocated, 1024);
        output_done(&output);
}

/* A limit of nothing counts, and keeps nothing: that is how it goes on without memory. */
static void test_no_room(void) {
        struct output outputs[2] = { { .limit = 0 }, { .limit = 0 } };
        struct kept_outputs kept;
        uint64_t offset;
        const char *data;

        output_append(&outputs[0], "abc", 3);
        ASSERT_EQ(outputs[0].total, 3);
        ASSERT_EQ(output_read(&outputs[0], 0, &offset, &data), 0);
        ASSERT_OK(kept_outputs_take(outputs, &kept));
        ASSERT_TRUE(kept.streams[0].truncated);
        kept_outputs_done(&kept);
}

/* Small ones need no file, large ones have one. */
static void test_where_it_is_kept(void) {
        struct output outputs[2] = { { .limit = 65536 }, { .limit = 65536 } };
        struct kept_outputs kept;
        _cleanup_free_ char *text = NULL;

        append(&outputs[0], 100);
        append(&outputs[1], 200);
        ASSERT_OK(kept_outputs_take(outputs, &kept));
        ASSERT_LT(kept.file, 0);
        kept_outputs_done(&kept);

        append(&outputs[0], 30000);
        append(&outputs[1], 5);
        ASSERT_OK(kept_outputs_take(outputs, &kept));
        ASSERT_GE(kept.file, 0);
        text = malloc(30006);
        ASSERT_NOT_NULL(text);
        ASSERT_OK(memory_file_read(kept.file, 0, text, 30005));
        ASSERT_EQ(text[29999], byte_at(29999));
        ASSERT_EQ(text[30000], byte_at(0));
        ASSERT_ERROR(memory_file_read(kept.file, 0, text, 30006), EIO);
        kept_outputs_done(&kept);
}

int main(void) {
        RUN(test_sizes);
        RUN(test_nothing_costs_nothing);
        RUN(test_no_room);
        RUN(test_where_it_is_kept);
        return 0;
}
