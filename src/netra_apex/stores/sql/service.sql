-- name: levels
with ended as materialized (
  select (ended_at - :since) / :width as bucket, user_id, agent, coalesce(model, '') as model, ended_as,
         told + case when calls_ended < calls then 16 else 0 end
              + case when ended_at - case when own_wait = 1 then coalesce(started_at, ended_at) else created_at end
                          - waited_ms > :limit_ms then 32 else 0 end as facts,
         calls, calls_ended, calls_failed, used_input, used_output, used_requests, used_cost,
         started_at - created_at as queued_ms,
         first_event_at - created_at as first_event_ms,
         first_token_at - created_at as first_token_ms,
         case when ended_as = 'completed'
              then ended_at - case when own_wait = 1 then coalesce(started_at, ended_at) else created_at end - waited_ms
         end as completion_ms
  from runs where ended_at >= :since and ended_at < :until and ended_as is not null
),
grouped as (
  select bucket, agent, model, ended_as, facts, count(*) as runs, sum(calls) as calls, sum(calls_ended) as calls_ended,
         sum(calls_failed) as calls_failed, sum(used_input) as used_input, sum(used_output) as used_output,
         sum(used_requests) as used_requests, sum(used_cost) as used_cost
  from ended group by bucket, agent, model, ended_as, facts
),
most as (
  select user_id from ended group by user_id
  order by coalesce(sum(used_cost), 0) desc, sum(used_input + used_output) desc, count(*) desc, user_id limit :users
),
users as (
  select user_id, ended_as, facts, count(*) as runs, sum(calls) as calls, sum(calls_ended) as calls_ended,
         sum(calls_failed) as calls_failed, sum(used_input) as used_input, sum(used_output) as used_output,
         sum(used_requests) as used_requests, sum(used_cost) as used_cost
  from ended where user_id in (select user_id from most) group by user_id, ended_as, facts
),
-- Two digits of a latency are kept: what is sorted and added up is then short, however many runs there are.
times as (
  select 'queued_ms' as what, bucket, queued_ms as ms from ended where queued_ms is not null
  union all select 'first_event_ms', bucket, first_event_ms from ended where first_event_ms is not null
  union all select 'first_token_ms', bucket, first_token_ms from ended where first_token_ms is not null
  union all select 'completion_ms', bucket, completion_ms from ended where completion_ms is not null
),
rough as (
  select what, bucket, count(*) as runs,
         case when ms < 0 then 0 when ms < 100 then ms when ms < 1000 then ms - ms % 10
              when ms < 10000 then ms - ms % 100 when ms < 100000 then ms - ms % 1000 when ms < 1000000
              then ms - ms % 10000 else ms - ms % 100000 end as ms
  from times group by 1, 2, 4
),
both_ways as (
  select what, bucket, ms, runs from rough
  union all select what, -1, ms, sum(runs) from rough group by what, ms
),
summed as (
  select what, bucket, ms, sum(runs) over (partition by what, bucket order by ms) as reached,
         sum(runs) over (partition by what, bucket) as runs
  from both_ways
)
select 'group' as part, bucket, agent as name, model as other, ended_as, facts, runs, cast(calls as bigint),
       cast(calls_ended as bigint), cast(calls_failed as bigint), cast(used_input as bigint),
       cast(used_output as bigint), cast(used_requests as bigint), cast(used_cost as bigint)
from grouped
union all
select 'user', 0, user_id, '', ended_as, facts, runs, cast(calls as bigint), cast(calls_ended as bigint),
       cast(calls_failed as bigint), cast(used_input as bigint), cast(used_output as bigint),
       cast(used_requests as bigint), cast(used_cost as bigint)
from users
union all
select 'people', bucket, '', '', '', 0, count(distinct user_id), 0, 0, 0, 0, 0, 0, 0 from ended group by bucket
union all
select 'everybody', 0, '', '', '', 0, count(distinct user_id), 0, 0, 0, 0, 0, 0, 0 from ended
union all
select 'latency', bucket, what, '', '', 0, 0,
       cast(min(case when reached * 100 >= runs * 50 then ms end) as bigint),
       cast(min(case when reached * 100 >= runs * 95 then ms end) as bigint),
       cast(min(case when reached * 100 >= runs * 99 then ms end) as bigint), 0, 0, 0, 0
from summed group by what, bucket;

-- name: minutes
select ended_at / 60000, ended_as,
       told + case when calls_ended < calls then 16 else 0 end
            + case when ended_at - case when own_wait = 1 then coalesce(started_at, ended_at) else created_at end
                        - waited_ms > :limit_ms then 32 else 0 end,
       count(*)
from runs where ended_at >= :since and ended_as is not null group by 1, 2, 3;

-- name: standing
select user_id, status, case when executor is null then 0 else 1 end,
       case when status <> 'waiting' and :now - case when own_wait = 1 then coalesce(started_at, :now) else created_at end
                 - waited_ms > :limit_ms then 1 else 0 end,
       count(*), min(created_at)
from runs where ended_at is null group by 1, 2, 3, 4;

-- name: workers
select count(*), cast(coalesce(sum(room), 0) as bigint) from workers
where seen_at > (select max(seen_at) from workers) - :fresh;

-- name: models
select ended_as, coalesce(model, ''), count(*), min(ended_at), max(ended_at) from runs
where ended_at >= :since and (ended_as in ('model_unavailable', 'model_error')
                              or (ended_as = 'completed' and used_requests > 0))
group by 1, 2;
