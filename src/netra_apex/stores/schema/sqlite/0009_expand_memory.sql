-- What a user's agents are to remember of him, who gave a thread its title, and what administrators did.

create table memories (
    user_id    text not null,
    memory_id  text not null unique,
    slot       text not null,                 -- 'k' and its key, or 'd' and a digest of its text: one memory of each
    text       text not null,                 -- redacted
    length     integer not null,              -- in words
    created_at integer not null,
    primary key (user_id, memory_id),
    unique (user_id, slot)
) without rowid;
create index memories_by_time on memories (user_id, created_at desc, memory_id desc);

-- Which words are in which of a user's memories. Each user's own, and no full-text index of the database's, which would
-- weigh one user's words by what all others have written.
create table memory_words (
    user_id   text not null,
    word      text not null,
    memory_id text not null,
    times     integer not null,
    primary key (user_id, word, memory_id),
    foreign key (user_id, memory_id) references memories (user_id, memory_id) on delete cascade
) without rowid;
create index words_of_memory on memory_words (user_id, memory_id);

-- 0: its title is its first line. 1: a model was asked for one. 2: it has another, and keeps it, as all older ones do.
alter table threads add column titled integer not null default 2;

-- What was done as an administrator, and by whom. Names, ids and times; nothing that anybody said.
create table audit (
    audit_id text primary key,
    at       integer not null,
    actor    text not null,
    action   text not null,
    subject  text,                            -- the user whom it was about
    run_id   text,                            -- the run in which a tool did it; null: a request
    details  text not null                    -- JSON
) without rowid;
create index audit_by_time on audit (at desc, audit_id desc);
create trigger audit_is_not_changed before update on audit begin
    select raise(abort, 'the audit is only added to');
end;
create trigger audit_is_not_deleted before delete on audit begin
    select raise(abort, 'the audit is only added to');
end;
