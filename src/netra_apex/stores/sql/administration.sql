-- name: is_admin
select 1 from users where user_id = :user_id and disabled = 0 and permissions like '%"admin"%';

-- name: record
insert into audit (audit_id, at, actor, action, subject, run_id, details)
values (:audit_id, :now, :actor, :action, cast(:subject as text), cast(:run_id as text), :details);

-- name: users
select user_id, permissions, disabled, created_at from users where user_id > :after order by user_id limit :limit;

-- name: runs
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at
from runs
where (cast(:statuses as text) is null or :statuses like '%"' || status || '"%')
  and (created_at, run_id) < (:before, :before_id)
order by created_at desc, run_id desc limit :limit;

-- name: audit
select audit_id, at, actor, action, subject, run_id, details from audit
where (at, audit_id) < (:before, :before_id)
order by at desc, audit_id desc limit :limit;

-- name: run
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at,
       executor, epoch, waits_since, approvals_open, questions_open
from runs where run_id = :run_id;

-- name: open_runs
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at,
       executor, epoch, waits_since, approvals_open, questions_open
from runs where ended_at is null
order by created_at + 0 desc, run_id desc -- + 0: by the index of what is open, and not through all that has ended
limit :limit;

-- name: ended_runs
select run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at,
       executor, epoch, waits_since, approvals_open, questions_open
from runs where ended_at is not null and pruned = 0 order by ended_at desc, run_id desc limit :limit;

-- name: loads
select user_id,
       sum(case when status = 'running' and executor is not null then 1 else 0 end),
       sum(case when status = 'queued' then 1 else 0 end),
       sum(case when status = 'running' and executor is null then 1 else 0 end),
       sum(case when status = 'waiting' then 1 else 0 end),
       sum(case when status = 'waiting' then approvals_open else 0 end),
       sum(case when status = 'waiting' then questions_open else 0 end),
       min(case when status = 'queued' then created_at end),
       min(case when status = 'waiting' then waits_since end)
from runs where ended_at is null group by user_id order by user_id;

-- name: processes
select executor, room, started_at, seen_at, figures, draining from workers order by started_at, executor;

-- name: incidents
select at, kind, executor, runs from incidents order by at desc, incident_id desc limit :limit;

-- name: drain
update workers set draining = :draining where executor = :executor;
