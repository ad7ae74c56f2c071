-- Files of threads, in chunks, so that nobody else's writing waits long for one; and which files came with a message.

create table files (
    user_id    text collate "C" not null,
    file_id    text collate "C" not null unique,
    thread_id  text collate "C" not null,
    name       text not null,
    media_type text not null,
    size       bigint not null default 0,    -- in bytes, as far as it has come
    complete   integer not null default 0,   -- nobody sees it before
    created_at bigint not null,              -- when it was begun, and then when it was complete
    primary key (user_id, file_id),
    foreign key (user_id, thread_id) references threads (user_id, thread_id) on delete cascade
);
create index files_of_thread on files (user_id, thread_id, created_at, file_id);

create table file_chunks (
    user_id text collate "C" not null,
    file_id text collate "C" not null,
    ordinal bigint not null,
    data    bytea not null,
    primary key (user_id, file_id, ordinal),
    foreign key (user_id, file_id) references files (user_id, file_id) on delete cascade
);

alter table messages add column files text not null default '[]';  -- JSON: what came with it

alter table files       enable row level security;
alter table files       force  row level security;
alter table file_chunks enable row level security;
alter table file_chunks force  row level security;

create policy owner on files       using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on file_chunks using (user_id = nullif(current_setting('app.user_id', true), ''));
