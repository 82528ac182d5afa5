/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What comes by UDP: whatever is accepted can be sent on, and means the same afterwards. */

#include "lib/tests.h"
#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t first[DATAGRAM_MAX], second[DATAGRAM_MAX];
        struct mesh_message message;

        if (mesh_message_decode(data, size, &message) < 0)
                return 0;
        ASSERT_TRUE(node_id_is_valid(message.sender_node_id));
        ASSERT_TRUE(!message.has_node_info || node_id_is_valid(message.node_info.node_id));
        ASSERT_TRUE(message.node_info.n_metadata <= METADATA_MAX);
        ASSERT_TRUE(message.node_info.n_labels <= LABELS_MAX);

        int first_size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, first));
        ASSERT_OK(mesh_message_decode(first, (size_t) first_size, &message));
        int second_size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, second));
        ASSERT_EQ(first_size, second_size);
        ASSERT_EQ(memcmp(first, second, (size_t) first_size), 0);

        int padded_size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ true, second));
        ASSERT_GE(padded_size, first_size);
        return 0;
}
