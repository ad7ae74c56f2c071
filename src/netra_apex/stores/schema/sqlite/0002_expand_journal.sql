-- Runs that survive: who may write a run (its epoch), what it was allowed, and its journal.

alter table runs add column epoch integer not null default 1;       -- counts who took it up; older ones may not write
alter table runs add column recoveries integer not null default 0;  -- in a row, without a step that was finished
alter table runs add column posted integer not null default 0;      -- by a person; others end with their program
alter table runs add column permissions text not null default '[]'; -- what its user had when it was accepted

create table steps (
    user_id    text not null,
    run_id     text not null,
    step       text not null,                 -- where in the run: its key
    kind       text not null check (kind in ('model', 'call', 'step', 'think')),
    name       text not null,
    state      text not null check (state in ('started', 'finished', 'unknown')),
    call_id    text,                          -- a tool call's
    attempt    integer not null,              -- how often it was begun
    epoch      integer not null,              -- by whom it was written last
    content    blob not null,                 -- sealed: a digest of what was asked, and what it gave
    started_at integer not null,
    ended_at   integer,
    primary key (user_id, run_id, step),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;
