/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lines of a text as the journal divides them, entries built in place, and budgets. */

#include "lib/fake-journal.h"
#include "lib/folder.h"
#include "lib/tests.h"
#include "node/journal-budget.h"
#include "node/journal-entry.h"
#include "util/log.h"

static void expect_line(
        const char *data, size_t size, bool ended, const char *text, size_t consumed,
        enum line_break line_break) {
        struct text_line line;

        ASSERT_TRUE(text_line_next(data, size, ended, &line));
        ASSERT_EQ(line.size, strlen(text));
        ASSERT_EQ(memcmp(line.text, text, line.size), 0);
        ASSERT_EQ(line.consumed, consumed);
        ASSERT_EQ(line.line_break, line_break);
}

static void test_lines(void) {
        struct text_line line;

        expect_line("one\ntwo", 7, false, "one", 4, LINE_BREAK_NEWLINE);
        expect_line("one\0two\n", 8, false, "one", 4, LINE_BREAK_NUL);
        expect_line("\n", 1, false, "", 1, LINE_BREAK_NEWLINE);
        expect_line("rest", 4, true, "rest", 4, LINE_BREAK_END);
        ASSERT_FALSE(text_line_next("rest", 4, false, &line));
        ASSERT_FALSE(text_line_next("", 0, true, &line));
}

static void test_long_lines(void) {
        static char text[JOURNAL_LINE_MAX + 10];
        struct text_line line;

        memset(text, 'x', sizeof(text));
        ASSERT_FALSE(text_line_next(text, JOURNAL_LINE_MAX - 1, false, &line));
        ASSERT_TRUE(text_line_next(text, sizeof(text), false, &line));
        ASSERT_EQ(line.size, JOURNAL_LINE_MAX);
        ASSERT_EQ(line.consumed, JOURNAL_LINE_MAX);
        ASSERT_EQ(line.line_break, LINE_BREAK_MAX);

        /* Not within a character. */
        memcpy(text + JOURNAL_LINE_MAX - 1, "\u20ac", 3);
        ASSERT_TRUE(text_line_next(text, sizeof(text), false, &line));
        ASSERT_EQ(line.size, JOURNAL_LINE_MAX - 1);

        /* Bytes that are no text: it goes on all the same. */
        memset(text, 0x80, sizeof(text));
        ASSERT_TRUE(text_line_next(text, sizeof(text), false, &line));
        ASSERT_GE(line.size, JOURNAL_LINE_MAX - 3);
        ASSERT_EQ(line.consumed, line.size);
}

static void test_count(void) {
        ASSERT_EQ(text_count_lines("", 0), 0);
        ASSERT_EQ(text_count_lines("a\nb\n", 4), 2);
        ASSERT_EQ(text_count_lines("a\nb", 3), 2);
}

static void test_entry(void) {
        _cleanup_folder_ struct folder folder;
        static char large[2 * JOURNAL_TEXT_MAX];
        struct fake_journal journal;
        struct journal_message message;
        struct journal_entry entry;
        char path[160];

        folder_make(&folder);
        (void) snprintf(path, sizeof(path), "%s/journal", folder.path);
        fake_journal_open(&journal, path);
        setenv("WORKER_MESH_JOURNAL", path, 1);
        log_setup("test");

        journal_entry_begin(&entry);
        journal_entry_add(&entry, "NUMBER=%d", 7);
        for (unsigned i = 0; i < 2; i++) {
                journal_entry_add_value(&entry, "MESSAGE=", i == 0 ? "a\nb" : "c\0d", 3, 100);
                journal_entry_send(&entry, /* bulk= */ false);
                journal_entry_cut(&entry, 1);
        }
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_EQ(message.n_fields, 2);
        ASSERT_TRUE(journal_message_has(&message, "NUMBER", "7"));
        ASSERT_TRUE(journal_message_has(&message, "MESSAGE", "a\nb"));
        journal_message_done(&message);
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_EQ(message.n_fields, 2);
        ASSERT_EQ(memcmp(journal_message_get(&message, "MESSAGE")->value, "c\0d", 3), 0);
        journal_message_done(&message);

        /* Cut between characters; what has no room at all is left out. */
        journal_entry_add_value(&entry, "TEXT=", "x\u20acy", 5, 3);
        ASSERT_EQ(entry.fields[1].iov_len, strlen("TEXT=x\u2026"));
        ASSERT_EQ(memcmp(entry.fields[1].iov_base, "TEXT=x\u2026", entry.fields[1].iov_len), 0);
        memset(large, 'x', sizeof(large));
        journal_entry_add_value(&entry, "LARGE=", large, sizeof(large), sizeof(large));
        ASSERT_LE(entry.used, sizeof(entry.text));
        journal_entry_add(&entry, "MORE=%s", "not");
        ASSERT_EQ(entry.n_fields, 3);
        journal_entry_begin(&entry);
        for (unsigned i = 0; i < 2 * JOURNAL_FIELDS_MAX; i++)
                journal_entry_add(&entry, "FIELD=%u", i);
        ASSERT_EQ(entry.n_fields, JOURNAL_FIELDS_MAX);
        fake_journal_close(&journal);
}

static void test_budget(void) {
        const struct budget_limits limits = {
                .lines = 10, .bytes = 1000, .lines_per_sec = 10, .bytes_per_sec = 100
        };
        struct budget budget;
        usec_t now = USEC_PER_HOUR;

        budget_init(&budget, &limits, now);
        for (unsigned i = 0; i < 10; i++) {
                ASSERT_TRUE(budget_has_some(&budget));
                budget_spend(&budget, 1);
        }
        ASSERT_FALSE(budget_has_some(&budget));

        /* One line in a tenth of a second, however often it is asked. */
        for (unsigned i = 0; i < 99; i++)
                budget_fill(&budget, now += USEC_PER_MSEC);
        ASSERT_FALSE(budget_has_some(&budget));
        budget_fill(&budget, now += USEC_PER_MSEC);
        ASSERT_EQ(budget.lines, 1);

        /* A large one is a debt. */
        budget_spend(&budget, 1500);
        budget_fill(&budget, now += 4 * USEC_PER_SEC);
        ASSERT_FALSE(budget_has_some(&budget));
        budget_fill(&budget, now += 2 * USEC_PER_SEC);
        ASSERT_TRUE(budget_has_some(&budget));
        budget_fill(&budget, now += USEC_PER_DAY);
        ASSERT_EQ(budget.lines, 10);
        ASSERT_EQ(budget.bytes, 1000);
}

int main(void) {
        RUN(test_lines);
        RUN(test_long_lines);
        RUN(test_count);
        RUN(test_entry);
        RUN(test_budget);
        return 0;
}
