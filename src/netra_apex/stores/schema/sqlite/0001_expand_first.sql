-- The first schema. Every row of a person's content begins its key with the owner, and a child names its parent by
-- owner and id together, so that a row under somebody else's thread cannot exist. Times are milliseconds since 1970.

create table users (
    user_id       text primary key,
    password_hash text not null,
    permissions   text not null,              -- a JSON list
    disabled      integer not null default 0,
    created_at    integer not null
) without rowid;

create table sessions (
    session_id            text primary key,
    user_id               text not null references users on delete cascade,
    cookie_hash           text not null unique,
    refresh_hash          text not null unique,
    previous_refresh_hash text,
    rotated_at            integer not null,
    created_at            integer not null,
    expires_at            integer not null
) without rowid;
create index sessions_of_user on sessions (user_id);
create index sessions_by_end on sessions (expires_at);

-- Refresh tokens that were replaced: one that is used again tells of a theft, however often it was replaced since.
create table spent_tokens (
    refresh_hash text primary key,
    user_id      text not null references users on delete cascade,
    session_id   text not null references sessions on delete cascade
) without rowid;
create index spent_tokens_of_session on spent_tokens (session_id);

create table setup_token (
    one        integer primary key check (one = 1),
    token_hash text not null,
    expires_at integer not null
);

create table threads (
    user_id    text not null,
    thread_id  text not null unique,
    title      text not null,
    created_at integer not null,
    updated_at integer not null,
    primary key (user_id, thread_id)
) without rowid;
create index threads_by_update on threads (user_id, updated_at desc, thread_id desc);

create table runs (
    user_id    text not null,
    run_id     text not null unique,
    thread_id  text not null,
    position   integer not null,              -- 1, 2, 3 … in its thread
    message_id text not null,                 -- the user's message that it answers
    agent      text not null,
    status     text not null check (status in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    replaced   integer not null default 0,    -- an edited or repeated message took its place
    cancel_by  text,                          -- who asked for its end, from outside the process that runs it
    created_at integer not null,
    ended_at   integer,
    primary key (user_id, run_id),
    unique (user_id, thread_id, position),
    foreign key (user_id, thread_id) references threads (user_id, thread_id) on delete cascade
) without rowid;
create index runs_unfinished on runs (user_id, thread_id) where ended_at is null;
create index runs_by_time on runs (created_at, run_id);

create table messages (
    user_id    text not null,
    run_id     text not null,
    ordinal    integer not null,              -- 0 is the user's own, 1, 2, 3 … the answers
    message_id text not null unique,
    thread_id  text not null,
    position   integer not null,              -- its run's
    role       text not null check (role in ('user', 'assistant')),
    content    text not null,
    created_at integer not null,
    primary key (user_id, run_id, ordinal),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;
create index messages_in_order on messages (user_id, thread_id, position, ordinal);

create table events (
    user_id text not null,
    run_id  text not null,
    seq     integer not null,
    body    text not null,                    -- the event's JSON, as every reader is told it
    primary key (user_id, run_id, seq),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;

create table transcripts (
    user_id text not null,
    run_id  text not null,
    body    text not null,                    -- the model's side of the run: JSON list of messages, calls included
    primary key (user_id, run_id),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;

create table idempotency (
    user_id    text not null,
    scope      text not null,                 -- the thread that the post named, or '' for a new one
    key        text not null,
    digest     text not null,                 -- of everything else in the post
    thread_id  text not null,
    run_id     text not null,
    message_id text not null,
    created_at integer not null,
    primary key (user_id, scope, key),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;
create index idempotency_of_run on idempotency (user_id, run_id);
