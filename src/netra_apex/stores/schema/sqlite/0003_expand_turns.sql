-- Whose turn it is, decided in the table itself: which process carries a run out, and how far its log reaches.

alter table runs add column last_seq integer not null default 0;  -- also where the events are kept no longer
alter table runs add column executor text;                        -- the process that carries it out; null: it waits

update runs set last_seq = (
    select coalesce(max(seq), 0) from events where events.user_id = runs.user_id and events.run_id = runs.run_id);

drop index runs_unfinished;
create index runs_open on runs (user_id, thread_id, position) where ended_at is null;
create index runs_waiting on runs (user_id, run_id) where executor is null and ended_at is null;
create index runs_taken on runs (user_id, executor) where executor is not null and ended_at is null;
create index runs_to_cancel on runs (run_id) where cancel_by is not null and ended_at is null;

create table workers (
    executor   text primary key,
    room       integer not null,              -- how many runs it may have at once
    started_at integer not null,
    seen_at    integer not null
) without rowid;
