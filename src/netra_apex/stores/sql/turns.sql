-- name: standing
select
  (select count(*) from runs where user_id = :user_id and executor is not null and ended_at is null),
  (select count(*) from runs where user_id = :user_id and executor is null and ended_at is null and status <> 'waiting'),
  (select count(*) from runs where user_id = :user_id and thread_id = :thread_id and ended_at is null),
  (select count(*) from runs where user_id = :user_id and run_id = :run_id);

-- name: about_to_start
select count(*) from runs one
where user_id = :user_id and executor is null and ended_at is null and status <> 'waiting'
  and not exists (
    select 1 from runs before
    where before.user_id = one.user_id and before.thread_id = one.thread_id and before.ended_at is null
      and before.position < one.position);

-- name: ahead
select (select count(*) from runs before
        where before.user_id = one.user_id and before.executor is null and before.ended_at is null
          and before.status <> 'waiting' and before.run_id < one.run_id)
from runs one
where one.user_id = :user_id and one.run_id = :run_id and one.executor is null and one.ended_at is null
  and one.status <> 'waiting';

-- name: free_room
select there.room,
       (select count(*) from runs where executor is not null and ended_at is null)
     + (select count(*) from runs where executor is null and ended_at is null and status <> 'waiting')
from (select coalesce(sum(room), 0) as room from workers
      where seen_at > (select max(seen_at) from workers) - :fresh) there;

-- name: waiting
with recursive users (user_id) as (
  select (select min(user_id) from runs where executor is null and ended_at is null and status <> 'waiting')
  union all
  select (select min(runs.user_id) from runs
          where runs.executor is null and runs.ended_at is null and runs.status <> 'waiting'
            and runs.user_id > users.user_id)
  from users where users.user_id is not null
)
select user_id,
       (select count(*) from runs
        where runs.user_id = users.user_id and runs.executor is not null and runs.ended_at is null)
from users where user_id is not null limit 1000;

-- name: taken
select count(*) from runs where user_id = :user_id and executor is not null and ended_at is null;

-- name: next
select run_id, status = 'queued' and last_seq > 1 from runs one
where user_id = :user_id and executor is null and ended_at is null and status <> 'waiting'
  and not exists (
    select 1 from runs before
    where before.user_id = one.user_id and before.thread_id = one.thread_id and before.ended_at is null
      and before.position < one.position)
order by run_id limit 1;

-- name: claim
update runs set
  executor = :executor,
  epoch = epoch + 1,
  status = case when status = 'queued' and last_seq > 1 then 'running' else status end,  -- it waited for a person
  recoveries = 1 + case when status = 'queued' or exists (
    select 1 from steps where steps.user_id = runs.user_id and steps.run_id = runs.run_id
                          and steps.epoch = runs.epoch and steps.state = 'finished'
  ) then 0 else recoveries end
where user_id = :user_id and run_id = :run_id and executor is null and ended_at is null
returning trace, trace_last, epoch, recoveries, posted, permissions,
          (select content from messages
           where messages.user_id = runs.user_id and messages.run_id = runs.run_id and ordinal = 0),
          (select files from messages
           where messages.user_id = runs.user_id and messages.run_id = runs.run_id and ordinal = 0),
          run_id, user_id, thread_id, message_id, agent, status, last_seq, created_at, ended_at;

-- name: leave
update runs set executor = null, recoveries = recoveries - 1
where user_id = :user_id and run_id = :run_id and epoch = :epoch and executor = :executor and ended_at is null;

-- name: leave_all
update runs set executor = null where executor = :executor and ended_at is null;

-- name: held
select user_id, run_id, epoch from runs where executor = :executor and ended_at is null and posted = 1;

-- name: recent
select run_id from runs
where user_id = :user_id and thread_id = :thread_id and (ended_at is null or created_at >= :since) order by position;

-- name: executors
select distinct executor from runs where executor is not null and ended_at is null;

-- name: waiting_runs
select count(*) from runs where executor is null and ended_at is null and status <> 'waiting';
