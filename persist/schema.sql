-- SPDX-License-Identifier: Apache-2.0
--
-- The records, as a database that reqcast creates has them. An existing database is used as it is: these
-- statements run only when there is no table but ours. Capture (change_log, reqcast_meta and the triggers) is
-- made by persist/capture.c, for this schema and for existing ones alike.
--
-- Ids are 16-byte ULIDs. Times are stored as the writer gave them: seconds by default, milliseconds in many
-- rows, sometimes 0; never sort by them to find out what changed. The order of mirrored columns is the one in
-- record/entities.def; a test compares the two.

-- People. Not mirrored; members and versions point here.
CREATE TABLE IF NOT EXISTS users (
    id BLOB NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    external_id TEXT,
    name TEXT,
    image TEXT
);

CREATE TABLE IF NOT EXISTS workspaces (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    updated BIGINT NOT NULL DEFAULT (unixepoch()),
    collection_count INT NOT NULL DEFAULT 0,
    flow_count INT NOT NULL DEFAULT 0,
    active_env BLOB,
    global_env BLOB,
    display_order REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS workspaces_idx1 ON workspaces (name, active_env);

-- Who may do what in a workspace (role: 1 user, 2 admin, 3 owner). Not mirrored.
CREATE TABLE IF NOT EXISTS workspaces_users (
    id BLOB NOT NULL PRIMARY KEY,
    workspace_id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    role INT8 NOT NULL DEFAULT 1,
    UNIQUE (workspace_id, user_id),
    CHECK (length(id) = 16),
    CHECK (role IN (1, 2, 3)),
    FOREIGN KEY (workspace_id) REFERENCES workspaces (id) ON DELETE CASCADE,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS workspaces_users_idx1 ON workspaces_users (workspace_id, user_id, role);

-- The tree that people see: folders, and files that point to a request or another kind of content.
-- There is no foreign key between files.content_id and what it points to.
CREATE TABLE IF NOT EXISTS files (
    id BLOB NOT NULL PRIMARY KEY,
    workspace_id BLOB NOT NULL,
    parent_id BLOB,
    content_id BLOB,
    content_kind INT8 NOT NULL DEFAULT 0,
    name TEXT NOT NULL,
    display_order REAL NOT NULL DEFAULT 0,
    path_hash TEXT,
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    CHECK (length(id) = 16),
    CHECK (content_kind IN (0, 1, 2, 3, 4, 5, 6, 7)),
    FOREIGN KEY (workspace_id) REFERENCES workspaces (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_id) REFERENCES files (id) ON DELETE SET NULL
);
CREATE INDEX IF NOT EXISTS files_workspace_idx ON files (workspace_id);
CREATE INDEX IF NOT EXISTS files_hierarchy_idx ON files (workspace_id, parent_id, display_order);
CREATE INDEX IF NOT EXISTS files_workspace_hierarchy_idx
    ON files (workspace_id, parent_id, content_kind, display_order);
CREATE INDEX IF NOT EXISTS files_parent_lookup_idx ON files (parent_id, display_order)
    WHERE parent_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS files_content_lookup_idx ON files (content_kind, content_id)
    WHERE content_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS files_kind_filter_idx ON files (workspace_id, content_kind);
CREATE INDEX IF NOT EXISTS files_name_search_idx ON files (workspace_id, name);
CREATE UNIQUE INDEX IF NOT EXISTS files_path_hash_idx ON files (workspace_id, path_hash)
    WHERE path_hash IS NOT NULL;

-- Requests: bases, deltas that override a base (or another delta) field by field, and snapshots of runs.
CREATE TABLE IF NOT EXISTS http (
    id BLOB NOT NULL PRIMARY KEY,
    workspace_id BLOB NOT NULL,
    folder_id BLOB,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    method TEXT NOT NULL,
    body_kind INT8 NOT NULL DEFAULT 2,
    description TEXT NOT NULL DEFAULT '',
    content_hash TEXT,
    parent_http_id BLOB DEFAULT NULL,
    is_delta BOOLEAN NOT NULL DEFAULT FALSE,
    is_snapshot BOOLEAN NOT NULL DEFAULT FALSE,
    delta_name TEXT,
    delta_url TEXT,
    delta_method TEXT,
    delta_body_kind INT8,
    delta_description TEXT,
    last_run_at BIGINT,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    CHECK (is_delta = FALSE OR parent_http_id IS NOT NULL),
    CHECK (NOT (is_delta = TRUE AND is_snapshot = TRUE)),
    FOREIGN KEY (workspace_id) REFERENCES workspaces (id) ON DELETE CASCADE,
    FOREIGN KEY (folder_id) REFERENCES files (id) ON DELETE SET NULL,
    FOREIGN KEY (parent_http_id) REFERENCES http (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_workspace_idx ON http (workspace_id);
CREATE INDEX IF NOT EXISTS http_folder_idx ON http (folder_id) WHERE folder_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS http_method_idx ON http (method);
CREATE INDEX IF NOT EXISTS http_workspace_access_idx ON http (workspace_id, folder_id, is_delta);
CREATE INDEX IF NOT EXISTS http_workspace_name_idx ON http (workspace_id, name);
CREATE INDEX IF NOT EXISTS http_workspace_method_idx ON http (workspace_id, method);
CREATE INDEX IF NOT EXISTS http_folder_method_idx ON http (folder_id, method)
    WHERE folder_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS http_parent_delta_idx ON http (parent_http_id, is_delta);
CREATE INDEX IF NOT EXISTS http_content_hash_idx ON http (workspace_id, content_hash)
    WHERE content_hash IS NOT NULL;

-- The indexes that the existing streaming queries need.
CREATE INDEX IF NOT EXISTS http_workspace_streaming_idx ON http (workspace_id, updated_at DESC);
CREATE INDEX IF NOT EXISTS http_delta_resolution_idx
    ON http (parent_http_id, is_delta, updated_at DESC);
CREATE INDEX IF NOT EXISTS http_workspace_method_streaming_idx
    ON http (workspace_id, method, updated_at DESC);
CREATE INDEX IF NOT EXISTS http_active_streaming_idx ON http (workspace_id, updated_at DESC)
    WHERE is_delta = FALSE;

CREATE TABLE IF NOT EXISTS http_header (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    header_key TEXT NOT NULL,
    header_value TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    parent_header_id BLOB DEFAULT NULL,
    is_delta BOOLEAN NOT NULL DEFAULT FALSE,
    delta_header_key TEXT,
    delta_header_value TEXT,
    delta_description TEXT,
    delta_enabled BOOLEAN,
    delta_display_order REAL,
    display_order REAL NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    CHECK (is_delta = FALSE OR parent_header_id IS NOT NULL),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_header_id) REFERENCES http_header (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_header_http_idx ON http_header (http_id);
CREATE INDEX IF NOT EXISTS http_header_key_idx ON http_header (header_key);
CREATE INDEX IF NOT EXISTS http_header_order_idx ON http_header (http_id, display_order);
CREATE INDEX IF NOT EXISTS http_header_parent_delta_idx ON http_header (parent_header_id, is_delta);
CREATE INDEX IF NOT EXISTS http_header_delta_streaming_idx
    ON http_header (parent_header_id, is_delta, updated_at DESC);
CREATE INDEX IF NOT EXISTS http_header_streaming_idx
    ON http_header (http_id, enabled, updated_at DESC)
    WHERE enabled = TRUE;

-- An override without a parent is allowed here and in http_body_form, unlike in the tables around them.
CREATE TABLE IF NOT EXISTS http_search_param (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    description TEXT NOT NULL DEFAULT '',
    display_order REAL NOT NULL DEFAULT 0,
    parent_http_search_param_id BLOB,
    is_delta BOOLEAN NOT NULL DEFAULT FALSE,
    delta_key TEXT,
    delta_value TEXT,
    delta_enabled BOOLEAN,
    delta_description TEXT,
    delta_display_order REAL,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_http_search_param_id) REFERENCES http_search_param (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_search_param_http_idx ON http_search_param (http_id);
CREATE INDEX IF NOT EXISTS http_search_param_key_idx ON http_search_param (http_id, key);
CREATE INDEX IF NOT EXISTS http_search_param_order_idx
    ON http_search_param (http_id, display_order);
CREATE INDEX IF NOT EXISTS http_search_param_delta_idx
    ON http_search_param (parent_http_search_param_id)
    WHERE is_delta = TRUE;
-- Without the *_parent_idx indexes each deleted row would cost a scan of its table for overrides, because the
-- *_delta_idx indexes are partial and the cascade cannot use them.
CREATE INDEX IF NOT EXISTS http_search_param_parent_idx
    ON http_search_param (parent_http_search_param_id)
    WHERE parent_http_search_param_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS http_search_param_streaming_idx
    ON http_search_param (http_id, enabled, updated_at DESC)
    WHERE enabled = TRUE;

CREATE TABLE IF NOT EXISTS http_body_form (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    description TEXT NOT NULL DEFAULT '',
    display_order REAL NOT NULL DEFAULT 0,
    parent_http_body_form_id BLOB,
    is_delta BOOLEAN NOT NULL DEFAULT FALSE,
    delta_key TEXT,
    delta_value TEXT,
    delta_enabled BOOLEAN,
    delta_description TEXT,
    delta_display_order REAL,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_http_body_form_id) REFERENCES http_body_form (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_body_form_http_idx ON http_body_form (http_id);
CREATE INDEX IF NOT EXISTS http_body_form_key_idx ON http_body_form (http_id, key);
CREATE INDEX IF NOT EXISTS http_body_form_order_idx ON http_body_form (http_id, display_order);
CREATE INDEX IF NOT EXISTS http_body_form_delta_idx ON http_body_form (parent_http_body_form_id)
    WHERE is_delta = TRUE;
CREATE INDEX IF NOT EXISTS http_body_form_parent_idx ON http_body_form (parent_http_body_form_id)
    WHERE parent_http_body_form_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS http_body_urlencoded (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    description TEXT NOT NULL DEFAULT '',
    display_order REAL NOT NULL DEFAULT 0,
    parent_http_body_urlencoded_id BLOB,
    is_delta BOOLEAN NOT NULL DEFAULT FALSE,
    delta_key TEXT,
    delta_value TEXT,
    delta_enabled BOOLEAN,
    delta_description TEXT,
    delta_display_order REAL,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    CHECK (is_delta = FALSE OR parent_http_body_urlencoded_id IS NOT NULL),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_http_body_urlencoded_id) REFERENCES http_body_urlencoded (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_body_urlencoded_http_idx ON http_body_urlencoded (http_id);
CREATE INDEX IF NOT EXISTS http_body_urlencoded_key_idx ON http_body_urlencoded (http_id, key);
CREATE INDEX IF NOT EXISTS http_body_urlencoded_order_idx
    ON http_body_urlencoded (http_id, display_order);
CREATE INDEX IF NOT EXISTS http_body_urlencoded_delta_idx
    ON http_body_urlencoded (parent_http_body_urlencoded_id)
    WHERE is_delta = TRUE;
CREATE INDEX IF NOT EXISTS http_body_urlencoded_parent_idx
    ON http_body_urlencoded (parent_http_body_urlencoded_id)
    WHERE parent_http_body_urlencoded_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS http_assert (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    value TEXT NOT NULL,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    description TEXT NOT NULL DEFAULT '',
    display_order REAL NOT NULL DEFAULT 0,
    parent_http_assert_id BLOB,
    is_delta BOOLEAN NOT NULL DEFAULT FALSE,
    delta_value TEXT,
    delta_enabled BOOLEAN,
    delta_description TEXT,
    delta_display_order REAL,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    CHECK (is_delta = FALSE OR parent_http_assert_id IS NOT NULL),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_http_assert_id) REFERENCES http_assert (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_assert_http_idx ON http_assert (http_id);
CREATE INDEX IF NOT EXISTS http_assert_order_idx ON http_assert (http_id, display_order);
CREATE INDEX IF NOT EXISTS http_assert_delta_idx ON http_assert (parent_http_assert_id)
    WHERE is_delta = TRUE;
CREATE INDEX IF NOT EXISTS http_assert_parent_idx ON http_assert (parent_http_assert_id)
    WHERE parent_http_assert_id IS NOT NULL;

-- At most one a request. compression_type: 0 none, 1 gzip, 2 zstd, 3 brotli.
CREATE TABLE IF NOT EXISTS http_body_raw (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    raw_data BLOB,
    compression_type INT8 NOT NULL DEFAULT 0,
    parent_body_raw_id BLOB DEFAULT NULL,
    is_delta BOOLEAN NOT NULL DEFAULT FALSE,
    delta_raw_data BLOB,
    delta_compression_type INT8,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    updated_at BIGINT NOT NULL DEFAULT (unixepoch()),
    UNIQUE (http_id),
    CHECK (is_delta = FALSE OR parent_body_raw_id IS NOT NULL),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE,
    FOREIGN KEY (parent_body_raw_id) REFERENCES http_body_raw (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_body_raw_http_idx ON http_body_raw (http_id);
CREATE INDEX IF NOT EXISTS http_body_raw_parent_delta_idx
    ON http_body_raw (parent_body_raw_id, is_delta);
CREATE INDEX IF NOT EXISTS http_body_raw_delta_streaming_idx
    ON http_body_raw (parent_body_raw_id, is_delta, updated_at DESC);
CREATE INDEX IF NOT EXISTS http_body_raw_streaming_idx ON http_body_raw (http_id, updated_at DESC);

-- One a run. Its id is the id of the run's snapshot in http; there is no foreign key for that.
CREATE TABLE IF NOT EXISTS http_version (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    version_name TEXT NOT NULL,
    version_description TEXT NOT NULL DEFAULT '',
    is_active BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    created_by BLOB,
    UNIQUE (http_id, version_name),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE,
    FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE SET NULL
);
CREATE INDEX IF NOT EXISTS http_version_http_idx ON http_version (http_id);
CREATE INDEX IF NOT EXISTS http_version_active_idx ON http_version (is_active)
    WHERE is_active = TRUE;
CREATE INDEX IF NOT EXISTS http_version_created_by_idx ON http_version (created_by);

-- time is what the writer gave, usually a text with a zone; duration in milliseconds, size in bytes.
CREATE TABLE IF NOT EXISTS http_response (
    id BLOB NOT NULL PRIMARY KEY,
    http_id BLOB NOT NULL,
    status INT32 NOT NULL,
    body BLOB,
    time DATETIME NOT NULL,
    duration INT32 NOT NULL,
    size INT32 NOT NULL,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    FOREIGN KEY (http_id) REFERENCES http (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_response_http_idx ON http_response (http_id);
CREATE INDEX IF NOT EXISTS http_response_time_idx ON http_response (http_id, time DESC);

CREATE TABLE IF NOT EXISTS http_response_header (
    id BLOB NOT NULL PRIMARY KEY,
    response_id BLOB NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    FOREIGN KEY (response_id) REFERENCES http_response (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_response_header_response_idx ON http_response_header (response_id);
CREATE INDEX IF NOT EXISTS http_response_header_key_idx ON http_response_header (response_id, key);

CREATE TABLE IF NOT EXISTS http_response_assert (
    id BLOB NOT NULL PRIMARY KEY,
    response_id BLOB NOT NULL,
    value TEXT NOT NULL,
    success BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL DEFAULT (unixepoch()),
    FOREIGN KEY (response_id) REFERENCES http_response (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS http_response_assert_response_idx ON http_response_assert (response_id);
CREATE INDEX IF NOT EXISTS http_response_assert_success_idx
    ON http_response_assert (response_id, success);
