// SPDX-License-Identifier: Apache-2.0
// The one table of error codes: name, number (part of the ABI, never reused), text, and the exit
// status that the command line gives for it. api/reqcast.h lists the same names; a test compares.
#ifndef RQCI_ERRCODES_H
#define RQCI_ERRCODES_H

#define RQCI_ERRORS(X)                                                                 \
    X(RQC_OK, 0, "ok", 0)                                                              \
    X(RQC_NOT_FOUND, 1, "not found", 1)                                                \
    X(RQC_CHANGED, 2, "the record changed since the expected position", 1)             \
    X(RQC_DIFFERENT, 3, "a difference was found", 1)                                   \
    X(RQC_INVALID, 4, "invalid argument or input", 3)                                  \
    X(RQC_CONSTRAINT, 5, "refused by a constraint of the database", 3)                 \
    X(RQC_TOO_LARGE, 6, "beyond a documented limit", 3)                                \
    X(RQC_CONFLICT, 7, "idempotency key was used for another request", 3)              \
    X(RQC_BUSY, 8, "busy: another process holds it", 4)                                \
    X(RQC_TIMEOUT, 9, "timed out", 4)                                                  \
    X(RQC_UNAVAILABLE, 10, "not available now", 4)                                     \
    X(RQC_TOO_OLD, 11, "the cursor is behind the kept history: start over from 0", 4)  \
    X(RQC_EPOCH_CHANGED, 12, "the position belongs to another history: start over", 4) \
    X(RQC_FUTURE, 13, "the position is beyond the head", 4)                            \
    X(RQC_EXPIRED, 14, "the read session was held longer than its max age", 4)         \
    X(RQC_READ_ONLY, 15, "opened read-only", 4)                                        \
    X(RQC_NO_MEMORY, 16, "out of memory", 5)                                           \
    X(RQC_NO_SPACE, 17, "no space left", 5)                                            \
    X(RQC_IO, 18, "input/output error", 5)                                             \
    X(RQC_CORRUPT, 19, "damaged data", 5)                                              \
    X(RQC_VERSION, 20, "a format or schema version that is not understood", 5)         \
    X(RQC_CLOSED, 21, "closed", 4)                                                     \
    X(RQC_INTERNAL, 22, "internal error", 5)

// api/reqcast.h spells the enum out for its readers. Code that includes it first gets a check that
// the two agree.
#ifdef RQC_REQCAST_H
#define RQCI_ERR_SAME(name, number, text, exit_status) \
    _Static_assert((int)name == number, "reqcast.h differs from the table of errors");
RQCI_ERRORS(RQCI_ERR_SAME)
#undef RQCI_ERR_SAME
#else
typedef enum rqc_err {
#define RQCI_ERR_ENUM(name, number, text, exit_status) name = number,
    RQCI_ERRORS(RQCI_ERR_ENUM)
#undef RQCI_ERR_ENUM
} rqc_err;
#endif

// Text of a code ("unknown error" for others); static storage.
const char *rqci_err_text(rqc_err code);
// Exit status of the command line for a code (docs: command line), 5 for unknown codes.
int rqci_err_exit_status(rqc_err code);

#endif
