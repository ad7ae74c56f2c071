-- Files of threads, in chunks, so that nobody else's writing waits long for one; and which files came with a message.

create table files (
    user_id    text not null,
    file_id    text not null unique,
    thread_id  text not null,
    name       text not null,
    media_type text not null,
    size       integer not null default 0,    -- in bytes, as far as it has come
    complete   integer not null default 0,   -- nobody sees it before
    created_at integer not null,              -- when it was begun, and then when it was complete
    primary key (user_id, file_id),
    foreign key (user_id, thread_id) references threads (user_id, thread_id) on delete cascade
) without rowid;
create index files_of_thread on files (user_id, thread_id, created_at, file_id);

create table file_chunks (
    user_id text not null,
    file_id text not null,
    ordinal integer not null,
    data    blob  not null,
    primary key (user_id, file_id, ordinal),
    foreign key (user_id, file_id) references files (user_id, file_id) on delete cascade
);

alter table messages add column files text not null default '[]';  -- JSON: what came with it
