-- The first schema. Every row of a person's content begins its key with the owner, and a child names its parent by
-- owner and id together, so that a row under somebody else's thread cannot exist. Times are milliseconds since 1970.
--
-- Content stands under row-level security, forced on the tables' owner too: a transaction sees and writes the rows of
-- the user that it has named in app.user_id, and none where it has named nobody: '' is what the setting falls back to on
-- a connection that has had it before, and is nobody too. What the system works on by itself
-- (accounts, and the ids, states and times of runs) is outside of it and holds no content.

create table users (
    user_id       text collate "C" primary key,
    password_hash text not null,
    permissions   text not null,              -- a JSON list
    disabled      integer not null default 0,
    created_at    bigint not null
);

create table sessions (
    session_id            text collate "C" primary key,
    user_id               text collate "C" not null references users on delete cascade,
    cookie_hash           text not null unique,
    refresh_hash          text not null unique,
    previous_refresh_hash text,
    rotated_at            bigint not null,
    created_at            bigint not null,
    expires_at            bigint not null
);
create index sessions_of_user on sessions (user_id);
create index sessions_by_end on sessions (expires_at);

-- Refresh tokens that were replaced: one that is used again tells of a theft, however often it was replaced since.
create table spent_tokens (
    refresh_hash text primary key,
    user_id      text collate "C" not null references users on delete cascade,
    session_id   text collate "C" not null references sessions on delete cascade
);
create index spent_tokens_of_session on spent_tokens (session_id);
create index spent_tokens_of_user on spent_tokens (user_id);

create table setup_token (
    one        integer primary key check (one = 1),
    token_hash text not null,
    expires_at bigint not null
);

create table threads (
    user_id    text collate "C" not null,
    thread_id  text collate "C" not null unique,
    title      text not null,
    created_at bigint not null,
    updated_at bigint not null,
    primary key (user_id, thread_id)
);
create index threads_by_update on threads (user_id, updated_at desc, thread_id desc);

create table runs (
    user_id     text collate "C" not null,
    run_id      text collate "C" not null unique,
    thread_id   text collate "C" not null,
    position    bigint not null,              -- 1, 2, 3 … in its thread
    message_id  text collate "C" not null,    -- the user's message that it answers
    agent       text not null,
    status      text not null check (status in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    last_seq    bigint not null default 0,    -- how far its log reaches, also where the events are kept no longer
    executor    text collate "C",             -- the process that carries it out; null: it waits
    epoch       bigint not null default 1,    -- counts who took it up; older ones may not write
    recoveries  bigint not null default 0,    -- in a row, without a step that was finished
    posted      integer not null default 0,   -- by a person; others end with their program
    permissions text not null default '[]',   -- what its user had when it was accepted
    replaced    integer not null default 0,   -- an edited or repeated message took its place
    cancel_by   text,                         -- who asked for its end, from outside the process that runs it
    created_at  bigint not null,
    ended_at    bigint,
    primary key (user_id, run_id),
    unique (user_id, thread_id, position),
    foreign key (user_id, thread_id) references threads (user_id, thread_id) on delete cascade
) with (fillfactor = 70);                     -- a run's row changes with every step: room for that on its page
create index runs_open on runs (user_id, thread_id, position) where ended_at is null;
create index runs_waiting on runs (user_id, run_id) where executor is null and ended_at is null;
create index runs_taken on runs (user_id, executor) where executor is not null and ended_at is null;
create index runs_to_cancel on runs (run_id) where cancel_by is not null and ended_at is null;
create index runs_by_time on runs (created_at, run_id);

create table messages (
    user_id    text collate "C" not null,
    run_id     text collate "C" not null,
    ordinal    bigint not null,               -- 0 is the user's own, 1, 2, 3 … the answers
    message_id text collate "C" not null unique,
    thread_id  text collate "C" not null,
    position   bigint not null,               -- its run's
    role       text not null check (role in ('user', 'assistant')),
    content    text not null,
    created_at bigint not null,
    primary key (user_id, run_id, ordinal),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
);
create index messages_in_order on messages (user_id, thread_id, position, ordinal);

create table events (
    user_id text collate "C" not null,
    run_id  text collate "C" not null,
    seq     bigint not null,
    body    text not null,                    -- the event's JSON, as every reader is told it
    primary key (user_id, run_id, seq),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
);

create table transcripts (
    user_id text collate "C" not null,
    run_id  text collate "C" not null,
    body    text not null,                    -- the model's side of the run: JSON list of messages, calls included
    primary key (user_id, run_id),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
);

create table idempotency (
    user_id    text collate "C" not null,
    scope      text not null,                 -- the thread that the post named, or '' for a new one
    key        text not null,
    digest     text not null,                 -- of everything else in the post
    thread_id  text collate "C" not null,
    run_id     text collate "C" not null,
    message_id text collate "C" not null,
    created_at bigint not null,
    primary key (user_id, scope, key),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
);
create index idempotency_of_run on idempotency (user_id, run_id);

create table steps (
    user_id    text collate "C" not null,
    run_id     text collate "C" not null,
    step       text collate "C" not null,     -- where in the run: its key
    kind       text not null check (kind in ('model', 'call', 'step', 'think')),
    name       text not null,
    state      text not null check (state in ('started', 'finished', 'unknown')),
    call_id    text,                          -- a tool call's
    attempt    bigint not null,               -- how often it was begun
    epoch      bigint not null,               -- by whom it was written last
    content    bytea not null,                -- sealed: a digest of what was asked, and what it gave
    started_at bigint not null,
    ended_at   bigint,
    primary key (user_id, run_id, step),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
);

-- Processes that carry runs out. Each holds an advisory lock under its name while it lives.
create table workers (
    executor   text collate "C" primary key,
    room       bigint not null,               -- how many runs it may have at once
    started_at bigint not null,
    seen_at    bigint not null
);

-- Marks that transactions leave which must not be done twice: whether one was committed whose answer was lost with its
-- connection. (The transaction's own number would not tell: after a crash it may be another one's.)
create table commits (
    token        text collate "C" primary key,
    committed_at bigint not null
);

alter table threads     enable row level security;
alter table threads     force  row level security;
alter table messages    enable row level security;
alter table messages    force  row level security;
alter table events      enable row level security;
alter table events      force  row level security;
alter table transcripts enable row level security;
alter table transcripts force  row level security;
alter table idempotency enable row level security;
alter table idempotency force  row level security;
alter table steps       enable row level security;
alter table steps       force  row level security;

create policy owner on threads     using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on messages    using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on events      using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on transcripts using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on idempotency using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on steps       using (user_id = nullif(current_setting('app.user_id', true), ''));
