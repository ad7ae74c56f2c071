-- Calls that wait for a person's answer. `runs.wakes_at` is for them too.

create table questions (
    user_id     text not null,
    question_id text not null unique,
    run_id      text not null,
    thread_id   text not null,
    call_id     text not null,
    text        text not null,               -- redacted, as the event tells it
    asked_at    integer not null,
    position    integer not null,            -- orders them: by time, and those of a run as it asked
    expires_at  integer not null,
    content     text,                        -- the answer, redacted; nobody gave one where it is closed without
    closed_at   integer,                     -- when it was answered, or could be no more
    told        integer not null default 0,  -- its run has told the answer, or goes on without it
    primary key (user_id, question_id),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;
create index questions_open on questions (user_id, position, question_id) where closed_at is null;
create index questions_of_run on questions (user_id, run_id);
