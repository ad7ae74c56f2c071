-- Keys with which a user's programs call the API. Of a key only its hash is stored.

create table api_keys (
    key_id       text collate "C" primary key,
    user_id      text collate "C" not null references users on delete cascade,
    name         text not null,
    key_hash     text collate "C" not null unique,
    permissions  text,                        -- JSON, those that it has at most; null: its user's, but for admin
    created_at   bigint not null,
    expires_at   bigint,                      -- null: never
    last_used_at bigint                       -- to the hour
);
create index api_keys_of_user on api_keys (user_id, created_at, key_id);
