# SPDX-License-Identifier: Apache-2.0
"""The C ABI as ctypes sees it: each class is the struct of reqcast.h that _c_ names."""

import ctypes
import os
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_int, c_int64, c_size_t,
                    c_uint8, c_uint32, c_uint64, c_void_p)

LOG = CFUNCTYPE(None, c_void_p, c_int, c_char_p)
PROGRESS = CFUNCTYPE(None, c_void_p, c_char_p, c_uint64, c_uint64)
DIFFERENCE = CFUNCTYPE(None, c_void_p, c_void_p)
FAULT = CFUNCTYPE(None, c_void_p, c_char_p)
PART = CFUNCTYPE(None, c_void_p, c_void_p)
COMPLETED = CFUNCTYPE(None, c_void_p)
EVENT = CFUNCTYPE(None, c_void_p, c_void_p)
ID = c_uint8 * 16


class CValue(Structure):  # `u` is a union; ctypes cannot pass those by value
    _c_ = "rqc_value"
    _fields_ = [("type", c_int), ("n", c_uint32), ("p", c_void_p), ("u", c_uint64)]


class CError(Structure):
    _c_ = "rqc_error"
    _fields_ = [("code", c_int), ("text", c_char * 508)]


class CList(Structure):
    _c_ = "rqc_list"
    _fields_ = [("items", POINTER(c_void_p)), ("n", c_size_t), ("cap", c_size_t)]


class CPosition(Structure):
    _c_ = "rqc_position"
    _fields_ = [("store_id", ID), ("term", c_uint32), ("seq", c_uint64)]


class COptions(Structure):
    _c_ = "rqc_options"
    _fields_ = [("size", c_size_t), ("create", c_int), ("view_dir", c_char_p),
                ("view_map_bytes", c_uint64), ("retain", c_uint64), ("max_age_ms", c_uint32),
                ("log", LOG), ("log_ctx", c_void_p), ("progress", PROGRESS),
                ("progress_ctx", c_void_p)]


class CPageCursor(Structure):
    _c_ = "rqc_page_cursor"
    _fields_ = [("updated_at", c_int64), ("id", ID), ("state", c_uint8)]


class CMetrics(Structure):
    _c_ = "rqc_metrics"
    _fields_ = [("total", c_uint64), ("base", c_uint64), ("delta", c_uint64), ("recent", c_uint64),
                ("latest", c_int64), ("earliest", c_int64), ("has_times", c_int)]


class CActivity(Structure):
    _c_ = "rqc_activity"
    _fields_ = [("day", c_int64), ("changes", c_uint64), ("deltas", c_uint64), ("bases", c_uint64)]


class CChange(Structure):
    _c_ = "rqc_change"
    _fields_ = [("op", c_uint8), ("entity", c_uint8), ("seq", c_uint64), ("id", c_void_p),
                ("record", c_void_p)]


class CChangesList(Structure):
    _c_ = "rqc_changes_list"
    _fields_ = [("items", POINTER(CChange)), ("n", c_size_t), ("cap", c_size_t)]


class CCursor(Structure):
    _c_ = "rqc_cursor"
    _fields_ = [("seq", c_uint64), ("entity", c_uint8), ("id", ID), ("started", c_uint64)]


class CItem(Structure):
    _c_ = "rqc_item"
    _fields_ = [("record", c_void_p), ("over", c_void_p), ("nover", c_uint32), ("origin", c_int)]


class CItems(Structure):
    _c_ = "rqc_items"
    _fields_ = [("items", POINTER(CItem)), ("n", c_size_t)]


class CRaw(Structure):
    _fields_ = [("present", c_int), ("id", c_void_p), ("bytes", CValue), ("compression", c_int64),
                ("source", c_void_p), ("source_field", c_int), ("origin", c_int)]


class CResolved(Structure):
    _c_ = "rqc_resolved"
    _fields_ = [("http", CItem), ("headers", CItems), ("params", CItems), ("form", CItems),
                ("urlencoded", CItems), ("asserts", CItems), ("raw", CRaw), ("memory", c_void_p)]


class CResult(Structure):
    _c_ = "rqc_result"
    _fields_ = [("position", CPosition), ("written", c_uint64), ("skipped", c_uint64),
                ("deleted", c_uint64), ("visible", c_int), ("replayed", c_int)]


class CDifference(Structure):
    _c_ = "rqc_difference"
    _fields_ = [("entity", c_uint8), ("id", ID), ("what", c_char_p)]


class CVerified(Structure):
    _c_ = "rqc_verified"
    _fields_ = [("records", c_uint64), ("differences", c_uint64), ("digest", ID),
                ("position", CPosition)]


class CCompletion(Structure):
    _c_ = "rqc_completion"
    _fields_ = [("txn", c_void_p), ("ctx", c_void_p), ("code", c_int), ("result", CResult)]


class CRun(Structure):
    _c_ = "rqc_run"
    _fields_ = [("size", c_size_t), ("version_name", c_char_p), ("description", c_char_p),
                ("created_by", c_char_p), ("at", c_int64), ("response", c_void_p),
                ("headers", c_void_p), ("nheaders", c_size_t), ("asserts", c_void_p),
                ("nasserts", c_size_t)]


class CPruneOptions(Structure):
    _c_ = "rqc_prune_options"
    _fields_ = [("size", c_size_t), ("keep", c_int64), ("older_than_s", c_int64)]


class CPruned(Structure):
    _c_ = "rqc_pruned"
    _fields_ = [("snapshots", c_uint64), ("versions", c_uint64), ("deleted", c_uint64),
                ("position", CPosition)]


class CPart(Structure):
    _c_ = "rqc_part"
    _fields_ = [("kind", c_char_p), ("name", c_char_p), ("table", c_char_p), ("there", c_int)]


class CCopied(Structure):
    _c_ = "rqc_copied"
    _fields_ = [("position", CPosition), ("bytes", c_uint64), ("kept", c_char * 4096)]


class CPlace(Structure):
    _c_ = "rqc_place"
    _fields_ = [("store_id", ID), ("term", c_uint32), ("cursor", CCursor)]


class CEvent(Structure):
    _c_ = "rqc_event"
    _fields_ = [("kind", c_int), ("more", c_int), ("reason", c_int), ("text", c_char_p),
                ("place", CPlace), ("head", c_uint64), ("items", POINTER(CChange)),
                ("n", c_size_t), ("records", c_uint64), ("digest", ID)]


class CSubOptions(Structure):
    _c_ = "rqc_sub_options"
    _fields_ = [("size", c_size_t), ("workspace", c_char_p), ("since", CPlace), ("from_now", c_int),
                ("bookmarks", c_int), ("digest", c_int), ("event", EVENT), ("ctx", c_void_p)]


class CSubStats(Structure):
    _c_ = "rqc_sub_stats"
    _fields_ = [("size", c_size_t), ("frames", c_uint64), ("changes", c_uint64),
                ("bookmarks", c_uint64), ("gaps", c_uint64), ("duplicates", c_uint64),
                ("damaged", c_uint64), ("pages", c_uint64), ("connects", c_uint64),
                ("resets", c_uint64), ("compared", c_uint64), ("different", c_uint64),
                ("mends", c_uint64), ("buckets", c_uint64)]


class CStats(Structure):
    _c_ = "rqc_stats"
    _fields_ = [("size", c_size_t), ("position", CPosition), ("head", c_uint64),
                ("horizon", c_uint64), ("records", c_uint64), ("workspaces", c_uint64),
                ("tombstones", c_uint64), ("db_bytes", c_uint64), ("wal_bytes", c_uint64),
                ("view_bytes", c_uint64), ("view_map_bytes", c_uint64), ("generation", c_uint64),
                ("readers", c_uint32), ("owner", c_int), ("view_lagging", c_int),
                ("unmirrored", c_uint64), ("spare", c_int)]


# name: result, arguments
_P, _N, _I64, _U32 = c_void_p, c_size_t, c_int64, c_uint32
FUNCTIONS = {
    "rqc_err_text": (c_char_p, c_int),
    "rqc_record_entity": (c_int, _P),
    "rqc_record_seq": (c_uint64, _P),
    "rqc_record_updated": (_I64, _P),
    "rqc_field": (CValue, _P, c_int),
    "rqc_entity_name": (c_char_p, c_int),
    "rqc_entity_number": (c_int, c_char_p),
    "rqc_field_name": (c_char_p, c_int, c_int),
    "rqc_id_new": (c_int, _P),
    "rqc_id_format": (None, _P, _P),
    "rqc_id_parse": (c_int, c_char_p, _P),
    "rqc_list_free": (None, _P),
    "rqc_position_format": (None, _P, _P),
    "rqc_position_parse": (c_int, c_char_p, _P, _P),
    "rqc_open": (c_int, c_char_p, _P, _P, _P),
    "rqc_attach": (c_int, c_char_p, _P, _P, _P),
    "rqc_close": (None, _P),
    "rqc_sync": (c_int, _P, _P),
    "rqc_read_new": (c_int, _P, _P, _P),
    "rqc_read_free": (None, _P),
    "rqc_read_begin": (c_int, _P),
    "rqc_read_end": (None, _P),
    "rqc_read_position": (CPosition, _P),
    "rqc_read_error": (c_char_p, _P),
    "rqc_get": (c_int, _P, c_int, _P, _P),
    "rqc_workspaces": (c_int, _P, _P),
    "rqc_page": (c_int, _P, _P, _I64, c_char_p, _U32, _P, _P),
    "rqc_updates": (c_int, _P, _P, _I64, _I64, c_char_p, _U32, _P, _P),
    "rqc_batch": (c_int, _P, _P, _N, _I64, _P),
    "rqc_deltas": (c_int, _P, _P, _N, _I64, _I64, _P),
    "rqc_metrics_read": (c_int, _P, _P, _I64, _P),
    "rqc_activity_read": (c_int, _P, _P, _I64, _P, _N, _P),
    "rqc_count": (c_int, _P, _P, _I64, _P),
    "rqc_children": (c_int, _P, c_int, _P, _N, _I64, c_int, _P),
    "rqc_changes_free": (None, _P),
    "rqc_changes": (c_int, _P, _P, _P, _U32, _P, _P),
    "rqc_resolved_free": (None, _P),
    "rqc_item_field": (CValue, _P, c_int),
    "rqc_resolve": (c_int, _P, _P, _P, _P),
    "rqc_chain": (c_int, _P, _P, _I64, _P),
    "rqc_chain_field": (CValue, _P, c_int),
    "rqc_large": (c_int, _P, _P, c_int, _P, _P),
    "rqc_txn_new": (c_int, _P, _P, _P),
    "rqc_txn_free": (None, _P),
    "rqc_txn_error": (c_char_p, _P),
    "rqc_put": (c_int, _P, c_int, _P, _P),
    "rqc_add": (c_int, _P, c_int, _P, _P),
    "rqc_patch": (c_int, _P, c_int, _P, _P, c_uint64),
    "rqc_delete": (c_int, _P, c_int, _P, c_uint64),
    "rqc_commit": (c_int, _P, _P),
    "rqc_position_now": (CPosition, _P),
    "rqc_wait": (c_int, _P, _P, _U32, _P, _P),
    "rqc_watch_new": (c_int, _P, _P, _P),
    "rqc_watch_free": (None, _P),
    "rqc_watch_fd": (c_int, _P),
    "rqc_watch_clear": (CPosition, _P),
    "rqc_txn_key": (c_int, _P, c_char_p, _N),
    "rqc_commit_async": (c_int, _P, COMPLETED, _P),
    "rqc_completions_next": (c_int, _P, _P),
    "rqc_completions_fd": (c_int, _P, _P, _P),
    "rqc_snapshot": (c_int, _P, _P, _P, _P, _P, _P),
    "rqc_prune": (c_int, _P, _P, _P, _P, _P),
    "rqc_capture_plan": (c_int, c_char_p, PART, _P, _P),
    "rqc_capture_remove": (c_int, c_char_p, PART, _P, _P),
    "rqc_backup": (c_int, _P, c_char_p, c_int, PROGRESS, _P, _P, _P),
    "rqc_restore": (c_int, c_char_p, c_char_p, PROGRESS, _P, _P, _P),
    "rqc_integrity": (c_int, _P, c_int, FAULT, _P, _P, _P),
    "rqc_subscribe": (c_int, c_char_p, _P, _P, _P),
    "rqc_unsubscribe": (None, _P),
    "rqc_sub_next": (c_int, _P, c_int, _P),
    "rqc_sub_fd": (c_int, _P),
    "rqc_sub_stats_read": (c_int, _P, _P),
    "rqc_sidecar_url": (c_int, c_char_p, _P, _P),
    "rqc_verify": (c_int, _P, c_int, DIFFERENCE, _P, _P, _P),
    "rqc_stats_read": (c_int, _P, _P, _P),
}


def load():
    path = os.environ.get("REQCAST_LIBRARY") or "libreqcast.so.0"
    try:
        lib = ctypes.CDLL(path)
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as e:
        raise ImportError(f"{e}; REQCAST_LIBRARY may name another libreqcast.so") from None
    return lib


lib = load()
free = ctypes.CDLL(None).free
free.restype, free.argtypes = None, [_P]
