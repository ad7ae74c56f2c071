-- What a user's agents are to remember of him, who gave a thread its title, and what administrators did.

create table memories (
    user_id    text collate "C" not null,
    memory_id  text collate "C" not null unique,
    slot       text collate "C" not null,     -- 'k' and its key, or 'd' and a digest of its text: one memory of each
    text       text not null,                 -- redacted
    length     bigint not null,               -- in words
    created_at bigint not null,
    primary key (user_id, memory_id),
    unique (user_id, slot)
);
create index memories_by_time on memories (user_id, created_at desc, memory_id desc);

-- Which words are in which of a user's memories. Each user's own, and no full-text index of the database's, which knows
-- no rare words from frequent ones.
create table memory_words (
    user_id   text collate "C" not null,
    word      text collate "C" not null,
    memory_id text collate "C" not null,
    times     bigint not null,
    primary key (user_id, word, memory_id),
    foreign key (user_id, memory_id) references memories (user_id, memory_id) on delete cascade
);
create index words_of_memory on memory_words (user_id, memory_id);

alter table memories     enable row level security;
alter table memories     force  row level security;
alter table memory_words enable row level security;
alter table memory_words force  row level security;
create policy owner on memories     using (user_id = nullif(current_setting('app.user_id', true), ''));
create policy owner on memory_words using (user_id = nullif(current_setting('app.user_id', true), ''));

-- 0: its title is its first line. 1: a model was asked for one. 2: it has another, and keeps it, as all older ones do.
alter table threads add column titled integer not null default 2;

-- What was done as an administrator, and by whom. Names, ids and times; nothing that anybody said.
create table audit (
    audit_id text collate "C" primary key,
    at       bigint not null,
    actor    text collate "C" not null,
    action   text not null,
    subject  text collate "C",                -- the user whom it was about
    run_id   text collate "C",                -- the run in which a tool did it; null: a request
    details  text not null                    -- JSON
);
create index audit_by_time on audit (at desc, audit_id desc);

-- It is only added to, each row in the name of whom its transaction acts for, and shown to whoever is an administrator.
-- There is no policy for changes, so that the tables' owner finds nothing to change either; a role that serves is not
-- allowed to begin with.
alter table audit enable row level security;
alter table audit force  row level security;
create policy added on audit for insert with check (actor = nullif(current_setting('app.user_id', true), ''));
create policy shown on audit for select using (exists (
    select 1 from users
    where user_id = nullif(current_setting('app.user_id', true), '') and disabled = 0 and permissions like '%"admin"%'));
