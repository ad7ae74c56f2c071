-- Calls that wait for a person's word.

alter table runs add column wakes_at integer;  -- when the first of the approvals that it waits for expires

create table approvals (
    user_id      text not null,
    approval_id  text not null unique,
    run_id       text not null,
    thread_id    text not null,
    call_id      text not null,
    tool         text not null,
    arguments    text not null,               -- JSON, redacted, as the event tells them
    requested_at integer not null,
    position     integer not null,            -- orders them: by time, and those of a run as it asked
    expires_at   integer not null,
    again        integer not null default 0,   -- whether the call may have been made before
    decision     text check (decision in ('approve', 'reject', 'expired')),
    decided_by   text,
    decided_at   integer,
    note         text,
    told         integer not null default 0,  -- its run has told the decision, or goes on without it
    primary key (user_id, approval_id),
    foreign key (user_id, run_id) references runs (user_id, run_id) on delete cascade
) without rowid;
create index approvals_pending on approvals (user_id, position, approval_id) where decision is null;
create index approvals_of_run on approvals (user_id, run_id);
create index runs_to_wake on runs (wakes_at) where status = 'waiting' and ended_at is null;
-- Instead of runs_waiting: a run that waits for a person, for months maybe, is nobody's turn.
drop index runs_waiting;
create index runs_in_turn on runs (user_id, run_id)
    where executor is null and ended_at is null and status <> 'waiting';
