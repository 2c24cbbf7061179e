// SPDX-License-Identifier: Apache-2.0
// LMDB's side of faults.h.
#include "tests/faults.h"
#include "tests/faults_real.h"

#include <lmdb.h>

REAL(int, mdb_txn_begin, MDB_env *, MDB_txn *, unsigned, MDB_txn **)
REAL(int, mdb_txn_renew, MDB_txn *)
REAL(int, mdb_txn_commit, MDB_txn *)
REAL(int, mdb_put, MDB_txn *, MDB_dbi, MDB_val *, MDB_val *, unsigned)
REAL(int, mdb_del, MDB_txn *, MDB_dbi, MDB_val *, MDB_val *)
REAL(int, mdb_cursor_put, MDB_cursor *, MDB_val *, MDB_val *, unsigned)
REAL(int, mdb_cursor_del, MDB_cursor *, unsigned)

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **ret)
{
    int code;
    return faults_now(FAULTS_BEGIN, &code) ? code : real_mdb_txn_begin()(env, parent, flags, ret);
}

int mdb_txn_renew(MDB_txn *txn)
{
    int code;
    return faults_now(FAULTS_BEGIN, &code) ? code : real_mdb_txn_renew()(txn);
}

int mdb_txn_commit(MDB_txn *txn)
{
    int code;
    if (!faults_now(FAULTS_COMMIT, &code))
        return real_mdb_txn_commit()(txn);
    mdb_txn_abort(txn);
    return code;
}

int mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags)
{
    int code;
    return faults_now(FAULTS_PUT, &code) ? code : real_mdb_put()(txn, dbi, key, value, flags);
}

int mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
    int code;
    return faults_now(FAULTS_PUT, &code) ? code : real_mdb_del()(txn, dbi, key, value);
}

int mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value, unsigned flags)
{
    int code;
    return faults_now(FAULTS_PUT, &code) ? code : real_mdb_cursor_put()(cursor, key, value, flags);
}

int mdb_cursor_del(MDB_cursor *cursor, unsigned flags)
{
    int code;
    return faults_now(FAULTS_PUT, &code) ? code : real_mdb_cursor_del()(cursor, flags);
}
