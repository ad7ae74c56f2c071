-- name: ask
insert into approvals (user_id, approval_id, run_id, thread_id, call_id, tool, arguments, requested_at, position,
                       expires_at, again)
values (:user_id, :approval_id, :run_id, :thread_id, :call_id, :tool, :arguments, :now, :position, :expires_at, :again);

-- name: pending
select approval_id, run_id, thread_id, call_id, tool, arguments, requested_at, expires_at, again, decision,
       approvals.position
from approvals join runs using (user_id, run_id, thread_id)
where user_id = :user_id and decision is null and expires_at > :now and ended_at is null
  and (approvals.position, approval_id) > (:after, :after_id)
order by approvals.position, approval_id limit :limit;

-- name: approval
select approval_id, run_id, thread_id, call_id, tool, arguments, requested_at, expires_at, again, decision
from approvals where user_id = :user_id and approval_id = :approval_id;

-- name: hold
update runs set last_seq = last_seq where user_id = :user_id and run_id = :run_id and ended_at is null;

-- name: permissions
select runs.permissions, users.permissions from runs left join users on users.user_id = runs.user_id
where runs.user_id = :user_id and runs.run_id = :run_id;

-- name: decide
update approvals set decision = :decision, decided_by = :by, decided_at = :now, note = cast(:note as text)
where user_id = :user_id and approval_id = :approval_id and decision is null and expires_at > :now;

-- name: wake
update runs set status = 'queued', wakes_at = null, waited_ms = waited_ms + coalesce(:now - parked_at, 0),
  parked_at = null
where user_id = :user_id and run_id = :run_id and status = 'waiting' and ended_at is null;

-- name: decisions
select approval_id, decision, decided_by, note from approvals
where user_id = :user_id and run_id = :run_id and decision is not null
union all
select question_id, case when content is null then 'expired' else 'answer' end,
       case when content is null then 'system' else user_id end, content
from questions where user_id = :user_id and run_id = :run_id and closed_at is not null;

-- name: undecided
select count(*), min(expires_at), min(since), coalesce(sum(approval), 0), coalesce(sum(1 - approval), 0) from (
  select expires_at, requested_at as since, 1 as approval from approvals
  where user_id = :user_id and run_id = :run_id and decision is null
  union all
  select expires_at, asked_at, 0 from questions
  where user_id = :user_id and run_id = :run_id and closed_at is null
) as asked;

-- name: decided_and_not_told
select count(*) from (
  select told from approvals where user_id = :user_id and run_id = :run_id and decision is not null and told = 0
  union all
  select told from questions where user_id = :user_id and run_id = :run_id and closed_at is not null and told = 0
) as decided;

-- name: park
update runs set status = :status, wakes_at = cast(:wakes_at as bigint), executor = null, posted = 1,
  parked_at = cast(:parked_at as bigint),
  waits_since = cast(:waits_since as bigint), approvals_open = :approvals_open, questions_open = :questions_open
where user_id = :user_id and run_id = :run_id and epoch = :epoch and ended_at is null;

-- name: tell
update approvals set told = 1 where user_id = :user_id and approval_id = :approval_id;

-- name: give_up
update approvals set
  decision = coalesce(decision, 'expired'), decided_by = coalesce(decided_by, 'system'),
  decided_at = coalesce(decided_at, :now), told = 1
where user_id = :user_id and run_id = :run_id and call_id = :call_id and told = 0;

-- name: overdue
select user_id, run_id from runs where status = 'waiting' and ended_at is null and wakes_at <= :now limit 500;

-- name: expire
update approvals set decision = 'expired', decided_by = 'system', decided_at = :now
where user_id = :user_id and run_id = :run_id and decision is null and expires_at <= :now;
