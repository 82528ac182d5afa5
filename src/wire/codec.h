/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Protocol Buffers to plain structs and back; with executor-codec.h the only door to protobuf. Everything
 * that comes out of a decoder has been checked: lengths, UTF-8, enum ranges, ids. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

/* Encodes into buffer. pad: to exactly DATAGRAM_MAX bytes with the padding field, for a question to all;
 * a heartbeat, and whatever carries a nonce, is padded to PROBE_SIZE at least, since it may give rise to a
 * message of that size. Metadata that does not fit is left out, from the end; -EMSGSIZE: the rest does not
 * fit either. Where there is a seal, the last SEAL_MAC_SIZE bytes are zero, for the MAC of those before.
 * Returns the number of bytes, or a negative errno. */
int mesh_message_encode(const struct mesh_message *message, bool pad, uint8_t buffer[static DATAGRAM_MAX]);

/* -EBADMSG: not a valid message; *ret is then unspecified. Metadata beyond METADATA_MAX entries, or longer
 * than its limits, is left out; an address or a version that is too long is cut at a whole character; absurd
 * times are clamped to what can be written as a date; unknown fields are ignored. A seal is present where
 * all of it is, with the MAC at the very end; what it is worth is not looked at. Allocates nothing. */
int mesh_message_decode(const void *data, size_t size, struct mesh_message *ret);
